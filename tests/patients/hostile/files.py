"""Every hostile file of the list, by its name in the list, and how it must end."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import openpyxl


class End(Enum):
    """How a file ends."""

    REFUSED = "in the request, with 422"
    UNREADABLE = "by the worker that reads it"
    EMPTY = "by the worker that checks it: nothing is left to store"
    PROBLEMS = "with its wrong rows named"
    IN_ORDER = "with every row in order"


@dataclass(frozen=True)
class Item:
    """A file.

    Attributes:
        make: its bytes, made when they are needed.
        end: how it ends.
        codes: of the problems that the check names, each kind once.
    """

    make: Callable[[], bytes]
    end: End
    codes: frozenset[str] = frozenset()


def refused(content):
    return Item(_lazy(content), End.REFUSED)


def unreadable(content):
    return Item(_lazy(content), End.UNREADABLE)


def problems(content, *codes):
    return Item(_lazy(content), End.PROBLEMS, frozenset(codes))


def in_order(content, *notices):
    return Item(_lazy(content), End.IN_ORDER, frozenset(notices))


def _lazy(content):
    def make():
        found = content() if callable(content) else content
        return found.encode() if isinstance(found, str) else found

    return make


TWO = "patient,age,Sex\na1,70,F\na2,71,M\n"
NUMBERS = ["1e309", "nan", "inf", "--", "<5", ">90", '"1,234"', "=1+1", "+cmd|' /C calc'!A0"]
TEXTS = {
    "one row of 100,000 columns": refused(lambda: ",".join(f"c{n}" for n in range(100_000)) + "\n"),
    "a header of 60 MB": refused(lambda: b"patient" * 9_000_000),
    "a line of 60 MB": unreadable(lambda: b"patient,age\na1," + b"7" * 60_000_000 + b"\n"),
    "no header": refused("a1,70,1\na2,71,0\n"),
    "no patient": unreadable("age,Sex\n70,F\n"),
    "doubled headers": in_order("patient,age,AGE,age\na1,70,71,72\n"),
    "BOM": in_order(b"\xef\xbb\xbf" + TWO.encode()),
    "UTF-16": in_order(TWO.encode("utf-16")),
    "UTF-16 without its mark": in_order(TWO.encode("utf-16-le")),
    "latin-1": in_order("patient,age\nMüller,70\n".encode("latin-1")),
    "NUL": refused(b"patient,age\na1,7\x000\n"),
    "NUL far down": unreadable(b"patient,age\n" + b"a1,70\n" * 20_000 + b"a\x00,70\n"),
    "bytes that are no text, far down": problems(
        b"patient,age\n" + b"".join(b"p%d,70\n" % n for n in range(5_000)) + b"\xff\xfe\x81,70\n",
        "invisible_characters",
    ),
    "mixed newlines": in_order("patient,age\r\na1,70\na2,71\ra3,72\r\n"),
    "unclosed quote": unreadable('patient,age\n"a1,70\n' + "a2,71\n" * 500),
    "quote in a cell": unreadable('patient,age\na1,"70"x"\n'),
    "; and TAB": in_order("patient;age\na1;70\n"),
    "TAB": in_order("patient\tage\na1\t70\n"),
    "decimal commas": in_order("patient;age;Weight\na1;70,5;81,2\n"),
    "numbers that are none": problems(
        "patient,age\n" + "".join(f"p{n},{text}\n" for n, text in enumerate(NUMBERS)),
        *("not_finite", "not_a_number", "bound", "comma", "formula"),
    ),
    "31/02": problems("patient,visit_date,age\na1,31/02/2024,70\n", "date"),
    "ages -1, 0, 130": problems("patient,age\na1,-1\na2,0\na3,130\n", "out_of_range"),
    "F/M/2": in_order("patient,Sex\na1,F\na2,M\na3,2\n"),  # 2 is NACC's code under SEX
    "F/M/7": problems("patient,Sex\na1,F\na2,M\na3,7\n", "code"),
    "doubled ids by case, space, unicode form": problems(
        "patient,age\nÅsa,70\nåsa ,70\nA\u030asa,71\nÅSA,70\n",
        "doubled_patient",
        "contradictory_rows",
    ),
    "formula cells": problems(
        "patient,age\n=cmd|' /C calc'!A0,70\n@SUM(A1),71\na3,=1+1\n", "formula"
    ),
    "swapped units": problems("patient,Height,Weight\na1,1.7,70\na2,170,70\n", "unit"),
    "shifted columns": problems(
        "patient,age,Sex\na1,70,F\n,a2,71\nF,a3,70\n", "no_patient", "code", "not_a_number"
    ),
    "empty": refused(b""),
    "blank lines": refused(b"\n \n\t\n"),
    "header only": unreadable("patient,age\n"),
    "all missing": Item(_lazy("patient,age,Sex\na1,,\na2,NA,\na3, ,n/a\n"), End.EMPTY),
    "a 1 MB cell": unreadable(lambda: "patient,age\na1," + "7" * 1_000_000 + "\n"),
    "a 1 MB identifier": unreadable(lambda: "patient,age\n" + "7" * 999_990 + ",70\n"),
    "script in every cell": problems(
        "patient,age\n<script>alert(1)</script>,<script>alert(2)</script>\n", "bound"
    ),
    "picture": refused(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40),
    "program": refused(b"\x7fELF" + bytes(1000)),
    "page": refused("<html><body>no</body></html>"),
    "gzip": refused(b"\x1f\x8b\x08\x00" + bytes(100)),
}


def workbook(rows=(("patient", "age"), ("a1", 70)), **replaced):
    """An .xlsx file, some of its parts replaced: `sheet1` is xl/worksheets/sheet1.xml."""
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    out = io.BytesIO()
    book.save(out)
    if not replaced:
        return out.getvalue()
    changed = io.BytesIO()
    with (
        zipfile.ZipFile(out) as old,
        zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            stem = name.rpartition("/")[2].removesuffix(".xml")
            new.writestr(name, replaced.pop(stem, None) or old.read(name))
        for name, content in replaced.items():
            new.writestr(name, content)
    return changed.getvalue()


def zipped(parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LAUGHS = (
    '<!DOCTYPE s [<!ENTITY a "haha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)


def sheet(inner, prolog=""):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<worksheet xmlns="{SPREADSHEET}">'
        f"<sheetData>{inner}</sheetData></worksheet>"
    )


def cell_of(text):
    return f'<row r="1"><c r="A1" t="inlineStr"><is><t>{text}</t></is></c></row>'


def hidden_sheets():
    with zipfile.ZipFile(io.BytesIO(workbook())) as plain:
        book = plain.read("xl/workbook.xml").decode()
    return workbook(workbook=book.replace('state="visible"', 'state="hidden"'))


def many_rows(count):
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>7</v></c></row>' for n in range(1, count + 1))
    return workbook(sheet1=sheet(rows))


def with_texts(strings):
    """A workbook with a table of shared texts."""
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    with zipfile.ZipFile(io.BytesIO(workbook())) as plain:
        types = plain.read("[Content_Types].xml").decode().replace("</Types>", part)
    return workbook(**{"[Content_Types]": types, "xl/sharedStrings.xml": strings})


def many_texts(count):
    texts = "".join(f"<si><t>{n:x}</t></si>" for n in range(count))
    return with_texts(f'<?xml version="1.0"?><sst xmlns="{SPREADSHEET}">{texts}</sst>')


WORKBOOKS = {
    "entity bomb": refused(lambda: workbook(sheet1=sheet(cell_of("&j;"), LAUGHS))),
    "entity bomb behind a comment": refused(
        lambda: workbook(sheet1=sheet(cell_of("&j;"), f"<!--{'x' * 9_000}-->{LAUGHS}"))
    ),
    "entity bomb in UTF-16": refused(
        lambda: workbook(
            sheet1=sheet(cell_of("&j;"), LAUGHS).replace("UTF-8", "UTF-16").encode("utf-16")
        )
    ),
    "entity that names a file": refused(
        lambda: with_texts('<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><sst>&a;</sst>')
    ),
    "formulas": problems(
        lambda: workbook((("patient", "age"), ("a1", "=35+35"), ("a2", "=A1"), ("a3", 70))),
        "formula",
    ),
    "hidden sheets": unreadable(hidden_sheets),
    "1,048,576 rows": refused(lambda: many_rows(1_048_576)),
    "a row far below": in_order(
        lambda: workbook((("patient", "age"), ("a1", 70), *[()] * 5_000, ("a2", 70)))
    ),
    "400 MB of a space": refused(
        lambda: workbook(sheet1=b"<?xml version='1.0'?><a>" + b" " * 400_000_000)
    ),
    "a text of 100 MB": refused(lambda: workbook(sheet1=sheet(cell_of("A" * 100_000_000)))),
    "20,000 different texts": in_order(lambda: many_texts(20_000)),
    "texts without number": refused(lambda: many_texts(900_000)),
    "nested 100,000 deep": unreadable(
        lambda: workbook(sheet1=sheet("<a>" * 100_000 + "</a>" * 100_000))
    ),
    "a sheet that is cut off": unreadable(
        lambda: workbook(sheet1=sheet('<row r="1"><c r="A1"><v>7</v>')[:-40])
    ),
    "10,000 parts": refused(lambda: workbook(**{f"xl/a{n}.txt": "a" for n in range(10_000)})),
    "a cut file": refused(lambda: workbook()[:2_000]),
    "a zip of something": refused(lambda: zipped({"a.txt": "hello"})),
    "a part named ../": in_order(lambda: workbook(**{"../../../tmp/x.xml": "<a/>"})),
    "NUL in a cell": in_order(lambda: workbook((("patient", "age"), ("a1_x0000_", 70)))),
}
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
ANN = {"resourceType": "Patient", "id": "ann", "gender": "female", "birthDate": "1950-01-02"}


def said(value=130, *, unit="mm[Hg]", code="8480-6", of="Patient/ann", at="2020-01-02", **more):
    return {
        "resourceType": "Observation",
        "subject": {"reference": of},
        "effectiveDateTime": at,
        "code": {"coding": [{"system": LOINC, "code": code, "display": "Systolic"}]},
        "valueQuantity": {"value": value, "unit": unit},
        **more,
    }


def bundle(*resources):
    return json.dumps(
        {"resourceType": "Bundle", "entry": [{"resource": each} for each in (ANN, *resources)]}
    )


def spliced(text):
    """A bundle with JSON in it that Python would not write."""
    return bundle(said(extension="HERE")).replace('"HERE"', text)


def medication(reference, **more):
    return {
        "resourceType": "MedicationRequest",
        "subject": {"reference": "Patient/ann"},
        "medicationReference": {"reference": reference},
        **more,
    }


BUNDLES = {
    "nesting 1,000": refused(spliced("[" * 1_000 + "]" * 1_000)),
    "nesting 1,000,000": refused(lambda: spliced('{"a":' * 1_000_000)),
    "NaN": refused(spliced("[NaN]")),
    "Infinity": refused(spliced("[-Infinity]")),
    "5,000-digit integers": refused(spliced("9" * 5_000)),
    "a number of 1e999": problems(bundle(said()).replace("130", "1e999"), "malformed"),
    "doubled keys": refused(spliced('{"a": 1, "a": 2}')),
    "doubled keys of the bundle": refused('{"resourceType": "Bundle", "resourceType": "x"}'),
    "lone surrogates": problems(
        bundle(said(code={"coding": [{"display": "\ud800"}]})), "malformed"
    ),
    "lone surrogates in who and what": problems(
        bundle({**ANN, "id": "\udc00"}, {"resourceType": "\ud800"}, said(of="Patient/\udc00")),
        "malformed",
    ),
    "NUL in texts": problems(
        bundle(said(code={"text": "a\0b"}), {"resourceType": "a\0b"}, said(unit="\0")), "malformed"
    ),
    "501 entries": in_order(
        lambda: bundle(*(said(at=f"2020-01-02T{n // 60:02d}:{n % 60:02d}:00Z") for n in range(500)))
    ),
    "circular references": problems(
        bundle(
            medication("#a", contained=[medication("#a") | {"id": "a"}]),
            {**medication("Medication/m"), "resourceType": "Medication", "id": "m"},
            medication("Medication/m"),
            {"resourceType": "Patient", "id": "b", "link": [{"other": {"reference": "Patient/b"}}]},
        ),
        "malformed",
    ),
    "wrong reference target": problems(
        bundle(said(of="Observation/1"), said(of="Patient/somebody")), "foreign_patient"
    ),
    "base64 of 100 MB": refused(
        lambda: bundle({"resourceType": "Binary", "data": "QUJD" * 33_400_000})
    ),
    "script in text.div": in_order(
        bundle(said(text={"div": "<script>alert(1)</script>"}), {**ANN, "text": {"div": "<b>"}})
    ),
    "unit mismatch": problems(bundle(said(70, unit="mmol/L", code="29463-7"), said()), "unit"),
    "future dates": problems(bundle(said(at="2199-01-01")), "future_date"),
    "dates that are none": problems(bundle(said(at="2020-02-31"), said(at=7)), "malformed"),
    "a million empty lists": refused(lambda: spliced("[" + "[]," * 1_000_000 + "1]")),
    "a list of lists": refused("[1, 2]"),
    "cut off": refused(bundle(said())[:-30]),
    "no entry": unreadable('{"resourceType": "Bundle", "entry": []}'),
    "NDJSON of bombs": unreadable(('{"a":' + "[" * 3_000 + "]" * 3_000 + "}\n") * 50),
    "NDJSON with one bomb": problems(
        "\n".join([json.dumps(ANN), '{"a":' + "[" * 3_000 + "]" * 3_000 + "}", json.dumps(said())]),
        "malformed",
    ),
    "NDJSON with a line of 3 MB": unreadable(
        lambda: "\n".join([json.dumps(ANN), json.dumps(said(note="x" * 3_000_000))])
    ),
}
FILES = {
    **{f"CSV: {name}": item for name, item in TEXTS.items()},
    **{f"XLSX: {name}": item for name, item in WORKBOOKS.items()},
    **{f"FHIR: {name}": item for name, item in BUNDLES.items()},
}

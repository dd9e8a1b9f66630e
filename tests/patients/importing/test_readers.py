"""Files as clinics write them are read; what is none is refused with the way out."""

import io
import json
import zipfile

import openpyxl
import pytest

from apps.patients.importing import opening, strict_json
from apps.patients.importing.plan import Role
from apps.patients.importing.problems import ProblemLog
from apps.patients.importing.source import FileRefusedError, Format, Shape
from apps.patients.importing.values import value_in
from tests.factories import NOW


@pytest.fixture
def read(tmp_path):
    """What a file holds: what was found out, the findings by row, and the problems."""

    def of(content, **options):
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        opened = opening.analyse(path, **options)
        log = ProblemLog(None)
        reader = opening.reader_of(path, opened.facts, opened.columns, log=log, now=NOW)
        rows = [
            {cell[4 : 4 + cell[3]].decode(): round(value_in(cell), 4) for cell in row.cells}
            for row in reader.rows()
        ]
        return opened, rows, log.all()

    return of


def workbook(rows, title="Patients", hidden=None):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    if hidden:
        book.create_sheet(hidden).sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "delimiter", "encoding", "mark"),
    [
        ("patient,age\na1,70.5\n", "comma", "UTF-8", "."),
        ("patient;age\na1;70,5\n", "semicolon", "UTF-8", ","),
        ("patient\tage\na1\t70.5\n", "tab", "UTF-8", "."),
        ("patient|age\na1|70.5\n", "bar", "UTF-8", "."),
        (b"\xef\xbb\xbfpatient,age\na1,70.5\n", "comma", "UTF-8 with BOM", "."),
        ("patient,age\na1,70.5\n".encode("utf-16"), "comma", "UTF-16", "."),
        (
            "patient,age\na1,70.5\n".encode("utf-16-le"),
            "comma",
            "UTF-16 without its mark",
            ".",
        ),
        ("patient,age\nMüller,70.5\n".encode("latin-1"), "comma", "Windows-1252", "."),
        ("patient,age\r\na1,70.5\r\n", "comma", "UTF-8", "."),
    ],
)
def test_encoding_delimiter_and_decimal_mark_are_found_out_and_said(
    read, content, delimiter, encoding, mark
):
    opened, rows, problems = read(content)

    facts = opened.facts
    assert (facts.delimiter, facts.encoding, facts.decimal_mark) == (delimiter, encoding, mark)
    assert rows == [{"age": 70.5}]
    assert not problems


def test_a_workbook_is_read_by_its_first_shown_sheet(read):
    opened, rows, _ = read(workbook([["patient", "age", "Sex"], ["a1", 70.5, "F"]], hidden="Keys"))

    assert opened.facts.format is Format.WORKBOOK
    assert rows == [{"age": 70.5, "female": 1}]
    assert any("hidden" in note for note in opened.facts.notes)


def test_a_sheet_is_chosen_by_name(read):
    content = workbook([["patient", "age"], ["a1", 70]], title="Second")

    assert read(content, sheet="Second")[1] == [{"age": 70}]
    with pytest.raises(FileRefusedError, match="Second"):
        read(content, sheet="Third")


def test_formulas_in_a_workbook_are_refused_cell_by_cell(read):
    _, rows, [problem] = read(workbook([["patient", "age"], ["a1", "=35+35"], ["a2", 71]]))

    assert (problem.row, problem.column, problem.code) == (2, "age", "formula")
    assert rows == [{"age": 71}]


def test_a_file_with_a_row_a_visit_keeps_the_visits_apart(read):
    opened, rows, _ = read("PTID,VISCODE,AGE\na1,bl,70\na1,m12,71\na2,bl,80\n")

    assert opened.facts.shape is Shape.VISITS
    assert [row["age"] for row in rows] == [70, 71, 80]


def test_a_file_with_a_row_an_observation_is_read_by_its_codes_and_names(read):
    opened, rows, problems = read(
        "patient_id,date,loinc,value,unit\n"
        "a1,2020-01-02,8480-6,130,mm[Hg]\n"
        "a1,2020-01-02,29463-7,154,lb\n"
        "a1,2020-01-02,2093-3,5.2,mmol/L\n"
        "a1,2020-01-02,Body height,170,furlong\n"
    )

    assert opened.facts.shape is Shape.LONG
    assert rows == [
        {"systolic_mmhg": 130},
        {"weight_kg": 69.8532},
        {"cholesterol_total": 201.084},
    ]
    assert [(p.row, p.code) for p in problems] == [(5, "unit")]


def test_units_in_a_header_and_in_a_column_of_their_own_are_converted(read):
    _, rows, _ = read("patient,Temp (F),VSWEIGHT,VSWTUNIT\na1,98.6,150,1\na2,99.5,70,2\n")

    assert rows == [
        {"temperature_c": 37.0, "weight_kg": 68.0389},
        {"temperature_c": 37.5, "weight_kg": 70.0},
    ]


def test_a_value_that_would_fit_another_unit_is_said_to(read):
    _, _, [problem] = read("patient,glucose\na1,5.5\n")

    assert problem.code == "unit"
    assert "mmol/L" in problem.message


def test_the_age_is_counted_from_the_birth_date(read):
    _, rows, problems = read("patient,DOB,visit_date\na1,1950-07-01,2020-07-01\na2,2021,2020-01-01")

    assert rows == [{"age": 70.0}]
    assert [p.code for p in problems] == ["date_order"]


@pytest.mark.parametrize(
    ("date", "code"),
    [("31/02/2024", "date"), ("2024-13-01", "date"), ("2099-01-01", "future_date"), ("x", "date")],
)
def test_dates_that_cannot_be_are_named(read, date, code):
    _, _, [problem] = read(f"patient,visit_date,age\na1,{date},70\n")

    assert (problem.row, problem.code) == (2, code)


def test_day_and_month_are_told_apart_by_the_file(read):
    opened, _, problems = read("patient,visit_date,age\na1,12/31/2020,70\na2,01/02/2020,70\n")

    assert not problems
    [column] = [c for c in opened.columns if c.role is Role.TIME]
    assert column.month_first


def test_one_patient_twice_is_found_whatever_the_case_space_or_unicode_form(read):
    _, rows, problems = read("patient,age\nANN,70\n ann ,70\nａｎｎ,71\n")

    assert len(rows) == 1
    assert [p.code for p in problems] == ["doubled_patient", "contradictory_rows"]
    assert all(p.value == "" for p in problems)


def test_values_that_contradict_each_other_are_named(read):
    _, _, problems = read("patient,SBP,DBP,Weight,Height\na1,80,120,70,170\na2,120,80,154,150\n")

    assert [(p.row, p.code) for p in problems] == [(2, "contradiction")]


def test_a_critical_value_is_a_notice_and_goes_in(read):
    _, rows, [problem] = read("patient,SBP\na1,200\n")

    assert (problem.code, problem.severity) == ("critical", "notice")
    assert rows == [{"systolic_mmhg": 200}]


def test_bounds_of_instruments_are_values_where_the_dictionary_says_so(read):
    _, rows, problems = read("patient,ABETA,glucose\na1,>1700,<5\n")

    assert rows == []
    assert [(p.column, p.code) for p in problems] == [("glucose", "bound")]


CELLS = ["1e309", "nan", "inf", "--", "<5", ">90", "1,234", "=1+1", "-1", "130", "x" * 1000]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_is_no_age_is_named_with_a_remedy(read, cell):
    _, rows, [problem] = read(f'patient;age;female\na1;"{cell}";1\n')

    assert (rows, problem.row, problem.column) == ([], 2, "age")
    assert problem.remedy
    assert len(problem.value) < 50


HOSTILE = {
    "one line of 100,000 columns": ",".join(f"c{n}" for n in range(100_000)) + "\n1\n",
    "no header": "a1,70,1\na2,71,0\n",
    "no patient": "age,female\n70,1\n",
    "NUL": b"patient,age\na1,7\x000\n",
    "unclosed quote": 'patient,age\n"a1,70\n' * 200,
    "empty": b"\n\n\n",
    "header only": "patient,age\n",
    "a megabyte in a cell": "patient,age\na1," + "7" * 1_000_000 + "\n",
    "gzip": b"\x1f\x8b\x08\x00\x00",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "page": "<html><body>no</body></html>",
    "zip of something": None,
    "entities": None,
}


def zipped(**parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return out.getvalue()


HOSTILE["zip of something"] = zipped(**{"a.txt": "hello"})
HOSTILE["entities"] = zipped(
    **{
        "[Content_Types].xml": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><Types/>',
    }
)


@pytest.mark.parametrize("name", [n for n, content in HOSTILE.items() if content is not None])
def test_a_hostile_file_is_refused_with_a_reason(read, name):
    with pytest.raises(FileRefusedError) as refused:
        read(HOSTILE[name])
    assert len(str(refused.value)) > 20


def test_a_workbook_that_unpacks_to_too_much_is_refused_before_it_is_read(read, monkeypatch):
    from apps.patients.importing import workbook_parts as reader

    monkeypatch.setattr(reader, "MAX_UNPACKED_BYTES", 1_000_000)
    bomb = zipped(**{"[Content_Types].xml": "<Types/>", "xl/a.xml": " " * 2_000_000})
    assert len(bomb) < 10_000

    with pytest.raises(FileRefusedError, match="unpacked"):
        read(bomb)


def test_a_row_with_too_many_cells_is_named_and_the_others_go_in(read):
    _, rows, [problem] = read("patient,age\na1,70,1\na2,71\n")

    assert (problem.row, problem.code) == (2, "wrong_number_of_cells")
    assert rows == [{"age": 71}]


def test_a_file_whose_columns_have_shifted_never_shows_an_identifier(read):
    _, _, problems = read("patient,age,apoe4\nan-77,70,1\n,an-77,70\n")

    assert problems
    assert not any("an-77" in p.value for p in problems)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1, "a": 2}',
        "[" * 5_000,
        "[" * 1_000 + "]" * 1_000,
        "[" * 150 + "]" * 150,
        '{"a": ' + "9" * 5_000 + "}",
        '{"a": ',
    ],
)
def test_what_json_does_not_allow_is_refused(text):
    with pytest.raises(FileRefusedError):
        strict_json.loads(text)


def test_json_as_it_should_be_is_read():
    value = {"a": [1, 2.5, None, {"b": "ü"}]}
    assert strict_json.loads(json.dumps(value)) == value


def test_a_long_file_with_visits_keeps_them_apart(read):
    opened, rows, problems = read(
        "patient_id,VISCODE,loinc,value,unit\n"
        "a1,bl,8480-6,130,mm[Hg]\n"
        "a1,m12,8480-6,140,mm[Hg]\n"
        "a1,m24,8480-6,150,mm[Hg]\n"
        "a1,soon,8480-6,150,mm[Hg]\n"
    )

    assert opened.facts.shape is Shape.LONG
    assert [row["systolic_mmhg"] for row in rows] == [130, 140, 150]
    assert [(p.row, p.code) for p in problems] == [(5, "date")]


def test_a_bundle_is_read_item_by_item_whatever_stands_around_its_entry():
    text = b' {"entry" : [ {"a": 1} , {"b": [2]}, {} ] , "resourceType":"Bundle", "n": {}} '

    assert list(strict_json.members(text, "entry")) == [
        ("entry", {"a": 1}),
        ("entry", {"b": [2]}),
        ("entry", {}),
        ("resourceType", "Bundle"),
        ("n", {}),
    ]
    assert list(strict_json.members(b'\xef\xbb\xbf{"entry": []}', "entry")) == []


@pytest.mark.parametrize(
    "text",
    [
        b'{"entry": [1,]}',
        b'{"entry": [1 2]}',
        b'{"entry": [1]',
        b'{"entry": [1], "entry": [2]}',
        b'{"entry": [1]} x',
        b'{"a": 1,}',
        b"{1: 2}",
        b'{"a" 1}',
        b"7",
        b"",
        b'{"a": "\xff"}',
    ],
)
def test_an_object_that_is_none_is_refused_wherever_it_breaks(text):
    with pytest.raises(FileRefusedError):
        list(strict_json.members(text, "entry"))


def test_json_of_too_many_parts_is_refused_unread(monkeypatch):
    monkeypatch.setattr(strict_json, "MAX_MARKS", 10)

    with pytest.raises(FileRefusedError, match="NDJSON"):
        list(strict_json.members(b'{"entry": [' + b"{}," * 20 + b"{}]}", "entry"))


def test_a_reader_that_would_take_too_much_memory_is_stopped():
    from apps.patients.importing import memory

    with pytest.raises(FileRefusedError, match="memory"), memory.bounded(50_000_000):
        bytearray(200_000_000)
    assert len(bytearray(200_000_000)) == 200_000_000

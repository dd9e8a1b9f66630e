"""Tables of patients are read whole, or refused with every reason and nothing kept."""

import csv
import io
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml.concepts import dictionary, schema
from ml.data.ehr import EhrTable, Role, Severity, patient_key, read_ehr_csv

SAMPLES = Path(__file__).parents[2] / "static" / "samples"


def read(content: str | bytes, *, max_rows: int = 100, max_bytes: int = 10_000_000) -> EhrTable:
    data = content.encode() if isinstance(content, str) else content
    return read_ehr_csv(io.BytesIO(data), max_rows=max_rows, max_bytes=max_bytes)


def codes(table: EhrTable) -> list[str]:
    return [p.code for p in table.problems if p.severity is Severity.ERROR]


def the_error(table: EhrTable):
    """The only error of a refused table."""
    [problem] = [p for p in table.problems if p.severity is Severity.ERROR]
    assert table.refused
    assert table.records == ()
    return problem


def cell(header: str, text: str):
    """The value that a cell of one column is read as, or the problem that refuses it."""
    out = io.StringIO()
    csv.writer(out).writerows([["patient", header, "rash"], ["p1", text, "0"]])
    table = read(out.getvalue())
    return the_error(table) if table.refused else next(iter(table.records[0].values.items()))


# What goes in


def test_a_row_becomes_a_record_with_what_was_observed():
    table = read("patient,age,sex,diabetes,weight_kg\nP-1,71.5,F,yes,\nP-2,80,M,,82.4\n")

    assert [r.patient for r in table.records] == ["P-1", "P-2"]
    assert table.records[0].values == {"age": 71.5, "female": 1.0, "diabetes": 1.0}
    assert table.records[1].values == {"age": 80.0, "female": 0.0, "weight_kg": 82.4}
    assert table.problems == ()


def test_the_two_samples_hold_the_same_patients_under_different_names():
    plain = read_ehr_csv(SAMPLES / "sample-50-patients.csv", max_rows=50)
    adni = read_ehr_csv(SAMPLES / "sample-50-patients-adni.csv", max_rows=50)

    assert len(plain.records) == 50
    assert [r.values for r in plain.records] == [r.values for r in adni.records]
    assert not plain.problems
    assert {p.code for p in adni.problems} == {"not_an_input", "label_proximal"}


@pytest.mark.parametrize(
    ("header", "text", "expected"),
    [
        ("AXNAUSEA", "2", ("nausea", 1.0)),
        ("AXVOMIT", "1", ("vomiting", 0.0)),
        ("AXVOMIT", "2.0", ("vomiting", 1.0)),
        ("MHPSYCH", "1", ("history_psychiatric", 1.0)),
        ("HMSTROKE", "2", ("stroke", 1.0)),
        ("PTGENDER", "2", ("female", 1.0)),
        ("PTGENDER", "Male", ("female", 0.0)),
        ("Gender", "f", ("female", 1.0)),
        ("PTETHCAT", "2", ("hispanic", 0.0)),
        ("PTMARRY", "Never married", ("marital_status", 4.0)),
        ("MARISTAT", "5", ("marital_status", 4.0)),
        ("HYPERTEN", "2", ("hypertension", 1.0)),
        ("APOE genotype", "e3/e4", ("apoe4", 1.0)),
        ("Weight (kg)", " 81.50 ", ("weight_kg", 81.5)),
        ("systolic", "1.2e2", ("systolic_mmhg", 120.0)),
        ("NXGAIT", "Abnormal", ("exam_gait", 1.0)),
    ],
)
def test_a_cell_is_read_as_its_field_counts(header, text, expected):
    assert cell(header, text) == expected


@pytest.mark.parametrize(
    ("header", "text"),
    [("age", ""), ("age", " NA "), ("age", "n/a"), ("AXVOMIT", "-4"), ("VSWEIGHT", "-1")],
)
def test_what_was_not_observed_is_left_out(header, text):
    assert cell(header, text) == ("rash", 0.0)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiter_line_ends_and_encoding_are_found_out(delimiter, end, encoding):
    rows = [["patient", "APOE ε4 alleles", "age"], ["Zoë", "2", "71"], ["p2", "0", "66"]]
    text = end.join(delimiter.join(row) for row in rows)

    table = read(text.encode(encoding))

    assert table.delimiter == delimiter
    assert [r.patient for r in table.records] == ["Zoë", "p2"]
    assert table.records[0].values == {"apoe4": 2.0, "age": 71.0}


def test_mixed_line_ends_blank_lines_and_quotes_are_read():
    table = read('patient,age\r\n"p1",71\n\n , \n"p ""2""",66\rp3,80')

    assert [r.patient for r in table.records] == ["p1", 'p "2"', "p3"]


def test_excels_hint_of_the_delimiter_is_skipped():
    assert read("sep=;\npatient;age\np1;71\n").records[0].values == {"age": 71.0}


def test_of_two_identifiers_the_better_one_is_used():
    table = read("RID,PTID,AGE\n4,999_S_0004,71\n")

    assert table.records[0].patient == "999_S_0004"
    assert [c.role for c in table.columns] == [Role.LEFT_OUT, Role.PATIENT, Role.CONCEPT]


def test_copies_of_the_diagnosis_are_named_and_left_out_unread():
    table = read("patient,age,MMSE,DX\np1,71,<5,Dementia\n")

    assert not table.refused
    assert table.records[0].values == {"age": 71.0}
    assert [(p.column, p.code) for p in table.problems] == [
        ("MMSE", "label_proximal"),
        ("DX", "label_proximal"),
    ]
    assert [c.concept for c in table.columns] == [None, "age", "mmse", "diagnosis"]


def test_a_patient_without_findings_is_kept_and_noticed():
    table = read("patient,age\np1,\n")

    assert table.records[0].values == {}
    assert [(p.row, p.code, p.severity) for p in table.problems] == [
        (2, "no_findings", Severity.NOTICE)
    ]


def test_a_path_is_read_like_an_upload(tmp_path):
    path = tmp_path / "ehr.csv"
    path.write_text("patient,age\np1,71\n")

    assert read_ehr_csv(path, max_rows=1) == read(path.read_bytes(), max_rows=1)


def test_an_upload_is_left_open_for_its_owner():
    file = io.BytesIO(b"patient,age\np1,71\n")
    read_ehr_csv(file, max_rows=1)

    assert not file.closed


def test_a_path_that_is_not_there_is_the_callers_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_ehr_csv(tmp_path / "none.csv", max_rows=1)


# Files that are something else


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (b"PK\x03\x04\x14\x00", "Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x7fELF\x02", "program"),
        (b'{"resourceType": "Bundle"}', "JSON"),
        (b"\n <!DOCTYPE html><html>", "HTML"),
    ],
)
def test_another_kind_of_file_is_called_by_its_name(start, named):
    problem = the_error(read(start + b"\x00\x01 rubbish"))

    assert problem.code == "file_type"
    assert named in problem.message
    assert "CSV UTF-8" in problem.message


@pytest.mark.parametrize("content", ["", "\n", "  \r\n\r\n", "\ufeff", "\ufeff\n", "\n" * 5_000])
def test_an_empty_file_is_said_to_be_empty(content):
    assert the_error(read(content)).code == "empty"


@pytest.mark.parametrize("content", ["patient,age\n", "patient,age", "patient,age\n\n,\n"])
def test_a_header_without_rows_is_refused(content):
    assert the_error(read(content)).code == "header_only"


def test_nul_bytes_are_refused_wherever_they_are():
    assert the_error(read("patient,age\np1,7\x001\n")).code == "binary"
    late = "patient,age\n" + "".join(f"p{i},71\n" for i in range(20_000)) + "p,\x00\n"
    assert codes(read(late, max_rows=100_000)) == ["binary"]


def test_utf_16_without_its_mark_is_refused():
    assert the_error(read("patient,age\np1,71\n".encode("utf-16-le"))).code == "binary"


def test_latin_1_is_refused_because_names_would_be_garbled():
    problem = the_error(read("patient,age\nMüller,71\n".encode("latin-1")))

    assert problem.code == "encoding"
    assert "CSV UTF-8" in problem.message


def test_utf_16_cut_in_the_middle_of_a_character_is_refused():
    assert the_error(read("patient,age\np1,71\n".encode("utf-16")[:-1])).code == "encoding"


# Headers


def test_an_unknown_column_is_refused_with_the_closest_names():
    problem = the_error(read("patient,age,systolic_mmgh\np1,71,120\n"))

    assert (problem.row, problem.column, problem.code) == (1, "systolic_mmgh", "unknown_column")
    assert "systolic_mmhg (Systolic blood pressure)" in problem.message


def test_a_column_in_another_unit_is_not_taken_for_ours():
    problem = the_error(read("patient,age,Weight (lb)\np1,71,165\n"))

    assert problem.code == "unknown_column"
    assert "weight_kg (Weight in kg)" in problem.message


@pytest.mark.parametrize("second", ["age", " AGE ", "Age (years)", "NACCAGE"])
def test_a_doubled_column_is_refused_whatever_its_spelling(second):
    problem = the_error(read(f"patient,age,{second}\np1,71,71\n"))

    assert (problem.row, problem.column, problem.code) == (1, second.strip(), "doubled_column")


def test_a_doubled_column_of_patients_is_refused():
    assert the_error(read("patient,age,Patient\np1,71,p1\n")).code == "doubled_column"


def test_a_table_without_a_column_of_patients_is_refused():
    problem = the_error(read("age,nausea\n71,0\n"))

    assert problem.code == "no_patient_column"
    assert "patient" in problem.message


def test_a_column_without_a_name_is_refused():
    assert the_error(read("patient,age,\np1,71,\n")).code == "unnamed_column"


def test_a_table_without_inputs_is_refused():
    assert the_error(read("patient,MMSE\np1,29\n")).code == "no_inputs"


def test_a_missing_header_is_noticed_and_no_cell_of_it_repeated():
    table = read("sub-77,71,0,81.5\nsub-78,72,1,60\n")

    assert the_error(table).code == "no_header"
    assert "sub-77" not in repr(table)


def test_a_header_of_unknown_words_is_refused_as_a_whole():
    table = read("Ann Smith lives here\nand there\n")

    assert the_error(table).code == "no_known_column"
    assert "Smith" not in repr(table)


def test_a_row_of_100_000_columns_is_refused():
    assert the_error(read(",".join(["age"] * 100_000) + "\n")).code == "too_many_columns"
    short = the_error(read("patient,age\n" + "1," * 100_000 + "\n"))
    assert (short.row, short.code) == (2, "wrong_number_of_cells")


def test_header_and_rows_are_reported_together():
    assert codes(read("patient,age,shoe\np1,171,43\n")) == ["unknown_column", "out_of_range"]


# Cells


@pytest.mark.parametrize(
    ("header", "text", "code"),
    [
        ("age", "abc", "not_a_number"),
        ("age", "--", "not_a_number"),
        ("age", "-", "not_a_number"),
        ("age", "1_0", "not_a_number"),
        ("age", "٧١", "not_a_number"),
        ("age", "0x40", "text_in_number"),
        ("age", "7" * 5_000, "not_a_number"),
        ("age", "-1", "out_of_range"),
        ("age", "0", "out_of_range"),
        ("age", "130", "out_of_range"),
        ("age", "1e300", "out_of_range"),
        ("age", "1e309", "not_finite"),
        ("age", "-1e9999", "not_finite"),
        ("age", "nan", "not_finite"),
        ("age", "NaN", "not_finite"),
        ("age", "inf", "not_finite"),
        ("age", "-Infinity", "not_finite"),
        ("age", "<5", "bound"),
        ("age", ">90", "bound"),
        ("age", "74,5", "comma"),
        ("weight_kg", "1,234", "comma"),
        ("weight_kg", "1.234,5", "comma"),
        ("weight_kg", "178 lb", "text_in_number"),
        ("height_cm", "1.70", "out_of_range"),
        ("temperature_c", "98.6", "out_of_range"),
        ("age", "31/02", "date"),
        ("age", "31/02/1948", "date"),
        ("age", "1948-02-31", "date"),
        ("age", "=1+70", "formula"),
        ("age", "@SUM(A1)", "formula"),
        ("age", "+A1", "formula"),
        ("age", "-A1", "formula"),
        ("nausea", "=TRUE()", "formula"),
        ("MHPSYCH", "2", "code"),
        ("AXVOMIT", "0", "code"),
        ("PTGENDER", "3", "code"),
        ("sex", "0", "code"),
        ("sex", "X", "word"),
        ("race", "1", "code"),
        ("vomiting", "2", "level"),
        ("vomiting", "0.5", "level"),
        ("vomiting", "-1", "level"),
        ("vomiting", "nan", "not_finite"),
        ("apoe4", "3", "level"),
        ("diabetes", "sometimes", "word"),
    ],
)
def test_a_bad_cell_is_refused_with_its_place_and_the_way_out(header, text, code):
    problem = cell(header, text)

    assert (problem.row, problem.column, problem.code) == (2, header, code)
    assert problem.value == (text if len(text) <= 40 else text[:40] + "…")
    assert any(hint in problem.message for hint in ("between", "Use "))


@pytest.mark.parametrize("field", ["nausea", "AXNAUSEA"])
def test_each_numbering_is_explained_under_its_own_name(field):
    message = cell(field, "5").message

    expected = "1 = Absent, 2 = Present" if field == "AXNAUSEA" else "0 = Absent, 1 = Present"
    assert expected in message


def test_exchanged_pressures_are_noticed():
    problem = the_error(read("patient,systolic,diastolic\np1,80,130\n"))
    assert problem.code == "contradiction"
    assert "exchanged" in problem.message


@pytest.mark.parametrize("row", ["178,172,27", "25,228,"])
def test_units_that_do_not_fit_together_are_noticed(row):
    assert the_error(read(f"patient,weight_kg,height_cm,bmi\np1,{row}\n")).code == "contradiction"


def test_pounds_are_refused_where_the_file_says_so():
    problem = the_error(read("PTID,VSWEIGHT,VSWTUNIT\np1,165,1\np2,80,2\np3,-4,-4\n"))

    assert (problem.row, problem.column, problem.code) == (2, "VSWTUNIT", "unit")
    assert "kilograms" in problem.message


def test_a_megabyte_in_a_cell_is_refused():
    assert codes(read("patient," + "age" * 200_000 + "\np1,71\n")) == ["cell_too_long"]
    assert codes(read("patient,age\np1," + "7" * 900_000 + "\n")) == ["cell_too_long"]
    assert codes(read("patient,age\np1," + "7" * 1_048_576 + "\n")) == ["line_too_long"]


# Rows


@pytest.mark.parametrize("second", ["p-1", " P-1 ", "Ｐ-1", "P -1", "P-1\u200b"])
def test_a_doubled_patient_is_found_in_every_spelling(second):
    problem = the_error(read(f'patient,age\nP-1,71\n"{second}",72\n'))

    assert problem.code in {"doubled_patient", "invisible_characters"}
    assert problem.row == 3


def test_composed_and_decomposed_letters_are_the_same_patient():
    problem = the_error(read("patient,age\nZoë,71\nZoe\u0308,72\n"))

    assert (problem.row, problem.code) == (3, "doubled_patient")
    assert "line 2" in problem.message


@pytest.mark.parametrize(
    ("identifier", "code"),
    [
        ("", "no_patient"),
        ("  ", "no_patient"),
        ("n/a", "no_patient"),
        ("x" * 101, "long_patient"),
        ("=cmd()", "formula"),
        ("abc\u202edef", "invisible_characters"),
        ("\u200b", "invisible_characters"),
    ],
)
def test_an_identifier_that_is_none_is_refused(identifier, code):
    assert the_error(read(f"patient,age\n{identifier},71\n")).code == code


def test_no_problem_repeats_an_identifier():
    table = read("patient,age,nausea\nsub-77,71,0\nSUB-77,sub-77,0\n=sub-77,71,sub-77\n")

    assert len(codes(table)) == 4
    assert "sub-77" not in repr(table.problems).casefold()


@pytest.mark.parametrize("row", ["p1", "p1,71", "p1,71,0,5", "p1,71,0,"])
def test_a_row_with_another_number_of_cells_is_refused(row):
    problem = the_error(read(f"patient,age,nausea\n{row}\n"))

    assert (problem.row, problem.code) == (2, "wrong_number_of_cells")


@pytest.mark.parametrize(
    "rows",
    ['"p1,71\np2,72\n', '"p1"x,71\n', 'p1,71\n"' + "p2,72\n" * 200, 'p1,"71'],
)
def test_quotation_marks_that_do_not_match_are_refused(rows):
    assert codes(read("patient,age\n" + rows))[-1] == "quotes"


def test_a_quoted_line_break_does_not_shift_the_line_numbers():
    problem = the_error(read('patient,age,DX\np1,71,"a\nb"\np2,171,c\n'))

    assert (problem.row, problem.code) == (4, "out_of_range")


def test_more_patients_than_allowed_are_refused_without_reading_on():
    class Endless(io.RawIOBase):
        taken = 0

        def read(self, size: int = -1, /) -> bytes:
            self.taken += size
            row = b"patient,age\n" if self.taken == size else b""
            return row + b"p,71\n" * (size // 5 - 3)

    file = Endless()
    table = read_ehr_csv(file, max_rows=100)

    assert table.problem_counts["too_many_rows"] == 1
    assert table.rows == 100
    assert file.taken < 2_000_000


@pytest.mark.parametrize(
    ("filler", "code"), [(b"a", "line_too_long"), (b"\n", "empty"), (b'"', "line_too_long")]
)
def test_a_gigabyte_is_refused_after_its_first_megabytes(filler, code):
    class Gigabyte(io.RawIOBase):
        left = 1_000_000_000

        def read(self, size: int = -1, /) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return filler * size

    file = Gigabyte()
    started = time.process_time()
    table = read_ehr_csv(file, max_rows=100)

    # Blank lines look like an empty file; only its length tells them apart.
    assert the_error(table).code == code
    assert file.left > 995_000_000
    assert time.process_time() - started < 2


def test_blank_lines_without_end_are_refused():
    assert codes(read("patient,age\np1,71\n" + "\n" * 50_000)) == ["blank_lines"]


def test_a_file_over_the_limit_of_bytes_is_refused():
    rows = "".join(f"p{i},71\n" for i in range(20_000))
    assert codes(read("patient,age\n" + rows, max_bytes=150_000, max_rows=99_999)) == [
        "file_too_large"
    ]


def test_a_file_of_errors_is_given_up():
    table = read("patient,age\n" + "p1,200\n" * 100_000, max_rows=1_000_000)

    assert table.problem_counts["too_many_errors"] == 1
    assert table.rows < 11_000
    assert table.problems[-1].code == "too_many_errors"


def test_problems_are_capped_and_counted():
    table = read("patient,age,nausea\n" + "p,200,7\n" * 3_000, max_rows=5_000)

    assert len(table.problems) == 1_000
    assert table.error_count == 8_999
    assert table.problem_counts == {"out_of_range": 3_000, "level": 3_000, "doubled_patient": 2_999}


def test_what_is_shown_hides_nothing_and_reorders_nothing():
    problem = cell("age", "7\u202e1\x1b[31m")

    assert problem.value == "7·1·[31m"


# The whole


def test_the_sample_of_errors_shows_each_of_them_once():
    table = read_ehr_csv(SAMPLES / "sample-with-errors.csv", max_rows=50)

    assert table.records == ()
    assert set(codes(table)) == {
        "unknown_column",
        "doubled_column",
        "out_of_range",
        "date",
        "comma",
        "text_in_number",
        "bound",
        "contradiction",
        "not_finite",
        "formula",
        "level",
        "word",
        "doubled_patient",
        "no_patient",
        "wrong_number_of_cells",
    }


def test_random_bytes_never_escape_as_an_exception():
    rng = random.Random(1)  # noqa: S311
    seed = (SAMPLES / "sample-50-patients.csv").read_bytes()[:6_000]
    for _ in range(300):
        data = bytearray(seed if rng.random() < 0.7 else rng.randbytes(rng.randrange(3_000)))
        for _ in range(rng.randrange(1, 30)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randrange(3)] = rng.choice(
                [b'"', b",", b";", b"\n", b"\r", b"\0", b"\xff", b"=", b"1e309", rng.randbytes(4)]
            )
        started = time.process_time()
        table = read(bytes(data))
        assert time.process_time() - started < 2
        assert table.refused == bool(codes(table)) or len(table.problems) == 1_000
        assert not (table.refused and table.records)


def test_ten_thousand_patients_are_read_in_under_three_seconds():
    cells = ["1" if dictionary()[name].levels else "60.5" for name in schema()]
    cells[schema().index("height_cm")] = "160"
    cells[schema().index("systolic_mmhg")] = "120"
    cells[schema().index("temperature_c")] = "36.6"
    cells[schema().index("education_years")] = "16"
    cells[schema().index("bmi")] = cells[schema().index("respiration_per_min")] = "23.6"
    rows = "".join(f"p{i},{','.join(cells)}\n" for i in range(10_000))
    started = time.process_time()

    table = read(f"patient,{','.join(schema())}\n{rows}", max_rows=10_000)

    assert len(table.records) == 10_000
    assert time.process_time() - started < 3


def test_reading_needs_the_standard_library_alone():
    code = (
        "import ml.data.ehr, sys;"
        "sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'jaxtyping', 'django')))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=SAMPLES.parents[1], check=False)
    assert run.returncode == 0


def test_the_key_of_a_patient_keeps_different_patients_apart():
    assert len({patient_key(f"sub-{i}") for i in range(100)}) == 100

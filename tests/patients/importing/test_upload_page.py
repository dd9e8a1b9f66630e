"""Giving a file: good ones lead to their import, bad ones are explained, nothing is half-stored."""

from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.urls import reverse

from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding, Patient
from tests.patients.importing.wizard import GOOD

ROWS = 100_000
# name: (file, what a page must say). A file is refused at once, or when it is read, or its rows are
# when they are checked; nobody has to know where.
BAD = {
    "an empty file": (b"", ["empty"]),
    "a header alone": (b"patient,age,sex\n", ["no row below"]),
    "blank lines alone": (b"\n\n\n\n", []),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 20, []),
    "a broken workbook": (b"PK\x03\x04" + bytes(500), []),
    "random bytes": (bytes((i * 7919) % 256 for i in range(5000)), []),
    "a doubled column": (b"patient,age,AGE\na-1,71,71\n", ["AGE"]),
    "no patient column": (b"age,sex\n71,F\n72,M\n", ["patient"]),
    "contradictory rows": (GOOD.encode() + b"A-1 ,72,F\n", ["row 2", "different things"]),
    "a word for a number": (b"patient,age\na-1,old\n", ['<td class="n">2</td>', "old", "age"]),
    "a number out of range": (b"patient,age\na-1,174\n", ["174", "between 18 and 110 years"]),
    "NaN": (b"patient,weight_kg\na-1,nan\n", ["nan", "no finite number"]),
    "infinity": (b"patient,weight_kg\na-1,inf\n", ["inf", "no finite number"]),
    "an overflow": (b"patient,weight_kg\na-1,1e309\n", ["1e309"]),
    "a formula": (b"patient,age\na-1,=1+70\n", ["formula"]),
    "a row of another length": (b"patient,age\na-1,71,9\n", ["3 cells"]),
    "markup": (b"patient,age\na-1,<script>alert(1)</script>\n", ["&lt;script&gt;"]),
    "a null byte": (b"patient,age\na-1,7\x001\n", []),
    "one cell of a megabyte": (b"patient,age\na-1," + b"7" * 10**6 + b"\n", []),
    "an open quotation mark": (b'patient,age\na-1,"71\na-2,72\n' * 3, []),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_explained_and_nothing_is_stored(wizard, name):
    content, words = BAD[name]

    page = explained(wizard, content)

    assert all(word in page for word in words), page[page.find("<main") :][:4000]
    assert "<title>Error:" in page
    assert "<script>alert" not in page
    assert not Patient.objects.exists()
    assert not Finding.objects.exists()
    assert not EhrImport.objects.filter(stage=Stage.COMMITTED).exists()


def explained(wizard, content):
    """The page that says what is wrong with a file, however far the file has come."""
    response = wizard.upload(content)
    if response.status_code == 422:
        return response.content.decode()
    wizard.work()
    if wizard.found.stage == Stage.ANALYSING:
        return wizard.see()
    response = wizard.press("check-import")
    if response.status_code == 422:
        return response.content.decode()
    wizard.work()
    assert wizard.found.stage == Stage.CHECKED
    page = wizard.see()
    wizard.press("commit-import")
    return page


def test_an_unknown_column_waits_for_a_decision_before_anything_is_stored(wizard):
    page = explained(wizard, "patient,age,shoe size\na-1,71,42\n")

    assert "1 column is still to decide: shoe size." in page
    assert wizard.found.stage == Stage.MAPPING


def test_a_hundred_thousand_rows_are_read_and_shown(wizard):
    rows = "".join(f"a-{n},70\n" for n in range(ROWS))

    wizard.reach(Stage.CHECKED, f"patient,age\n{rows}")

    assert "All 100,000 rows are in order." in wizard.see()


def test_more_rows_than_the_limit_are_refused_with_the_limit(wizard, monkeypatch):
    monkeypatch.setattr("apps.patients.importing.opening.MAX_ROWS", 3)

    page = explained(wizard, "patient,age\n" + "".join(f"a-{n},70\n" for n in range(4)))

    assert "3" in page
    assert "Error:" in page


def test_bytes_of_an_older_encoding_are_read_and_said(wizard):
    wizard.reach(Stage.MAPPING, "patient,age,sex\nM\u00fcller,71,F\n".encode("latin-1"))

    assert "windows-1252" in wizard.see().lower() or "latin" in wizard.see().lower()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\clinic\\names\\mueller.csv", "/root/x.csv", "a" * 300]
)
@pytest.mark.parametrize("content", ["", GOOD], ids=["refused", "taken"])
def test_a_path_in_the_name_of_a_file_goes_nowhere(wizard, name, content):
    response = wizard.upload(content, name=name)

    page = wizard.see() if response.status_code == 302 else response.content.decode()
    assert not any(part in page for part in ("../", "etc/", "clinic\\", "/root/"))
    for found in EhrImport.objects.all():
        assert len(found.file_name) <= 140
        assert not {"/", "\\"} & set(found.file_name)


def test_no_file_at_all_is_explained_at_the_field(wizard):
    address = reverse("patients:start-import", args=[wizard.importer.cohort.pk])

    response = wizard.client.post(address, {})

    page = response.content.decode()
    assert response.status_code == 422
    assert "No file was chosen." in page
    assert 'aria-invalid="true"' in page


def test_too_large_a_file_is_refused_before_it_is_copied(wizard, monkeypatch):
    monkeypatch.setattr("apps.patients.forms_imports.MAX_BYTES", 10**6)

    response = wizard.upload(b"x" * (10**6 + 1))

    assert response.status_code == 422
    assert "at most 1 MB are read" in response.content.decode()


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\nbroken", b"--x\r\n" + b"y" * 5000], ids=["nothing", "cut off", "junk"]
)
def test_a_broken_request_is_never_a_fault_of_ours(wizard, body):
    response = wizard.client.generic(
        "POST",
        reverse("patients:start-import", args=[wizard.importer.cohort.pk]),
        body,
        content_type="multipart/form-data; boundary=x",
    )

    assert response.status_code in {400, 422}
    assert not EhrImport.objects.exists()


def test_the_same_file_again_leads_to_the_import_that_has_it(wizard):
    wizard.reach(Stage.COMMITTED)
    first = wizard.found

    wizard.upload(GOOD)

    assert wizard.found == first
    assert "already in the cohort; nothing was changed" in wizard.see()
    assert Patient.objects.count() == 2


def test_the_same_file_again_while_it_waits_leads_to_where_it_waits(wizard):
    wizard.reach(Stage.MAPPING)

    wizard.upload(GOOD)

    assert "An import of this very file is under way" in wizard.see()
    assert EhrImport.objects.count() == 1


def test_samples_are_offered(wizard):
    address = reverse("patients:start-import", args=[wizard.importer.cohort.pk])

    page = wizard.client.get(address).content.decode()

    assert "samples/sample-50-patients.csv" in page
    assert "No import yet" in page


@pytest.mark.parametrize("sample", ["sample-50-patients.csv", "sample-50-patients-adni.csv"])
def test_the_samples_on_the_page_can_be_imported_in_three_clicks(wizard, sample):
    content = Path(finders.find(f"samples/{sample}")).read_bytes()

    wizard.reach(Stage.COMMITTED, content, name=sample)

    assert wizard.importer.cohort.patients.count() == 50


def test_the_sample_with_errors_shows_them(wizard):
    content = Path(finders.find("samples/sample-with-errors.csv")).read_bytes()
    wizard.reach(Stage.MAPPING, content, name="sample-with-errors.csv")
    wizard.press("decide-rest", action="ignore")
    wizard.press("check-import")
    wizard.work()

    assert "31/02/1948" in wizard.see()
    assert not Patient.objects.exists()


def test_earlier_imports_are_listed_with_where_they_stand(wizard):
    wizard.reach(Stage.COMMITTED)
    wizard.reach(Stage.MAPPING, GOOD.replace("a-", "b-"), name="waiting.csv")
    wizard.upload(GOOD.replace("a-", "c-"), name="reading.csv")
    wizard.fail()
    address = reverse("patients:start-import", args=[wizard.importer.cohort.pk])

    page = wizard.client.get(address).content.decode()

    assert "2 of 2" in page
    assert "Waits for you: columns" in page
    assert "Reading the file: failed" in page
    assert all(
        reverse("patients:import", args=[found.pk]) in page for found in EhrImport.objects.all()
    )

"""Uploads through HTTP: good files are stored, bad ones are explained, nothing is half-stored."""

from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from apps.patients.models import EhrUpload, Finding, Patient
from tests.factories import CohortFactory

pytestmark = pytest.mark.django_db

GOOD = b"patient,age,sex\na-1,71,F\na-2,80,M\n"
# name: (file, what the page must say)
BAD = {
    "an empty file": (b"", ["empty"]),
    "a header alone": (b"patient,age,sex\n", ["no row below it"]),
    "blank lines alone": (b"\n\n\n\n", []),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 20, []),
    "a workbook": (b"PK\x03\x04" + bytes(500), []),
    "random bytes": (bytes((i * 7919) % 256 for i in range(5000)), []),
    "bytes of no encoding": (b"patient,age\na-1,\xff\xfe\xfa\n", []),
    "an unknown column": (b"patient,age,shoe size\na-1,71,42\n", ["shoe size", "not known"]),
    "a doubled column": (b"patient,age,AGE\na-1,71,71\n", ["AGE"]),
    "no patient column": (b"age,sex\n71,F\n", ["patient"]),
    "a doubled patient": (GOOD + b"A-1 ,72,F\n", ["line 2 again"]),
    "a word for a number": (b"patient,age\na-1,old\n", ["<td class=\"n\">2</td>", "old", "age"]),
    "a number out of range": (b"patient,age\na-1,174\n", ["174", "between 18 and 110 years"]),
    "NaN": (b"patient,weight_kg\na-1,nan\n", ["nan"]),
    "infinity": (b"patient,weight_kg\na-1,inf\n", ["inf"]),
    "an overflow": (b"patient,weight_kg\na-1,1e309\n", ["1e309"]),
    "a formula": (b"patient,age\na-1,=1+70\n", ["formula"]),
    "a row of another length": (b"patient,age\na-1,71,9\n", ["3 cells and the header 2"]),
    "markup": (b"patient,age\na-1,<script>alert(1)</script>\n", ["&lt;script&gt;"]),
    "a null byte": (b"patient,age\na-1,7\x001\n", []),
    "one cell of a megabyte": (b"patient,age\na-1," + b"7" * 10**6 + b"\n", []),
    "an open quotation mark": (b'patient,age\na-1,"71\na-2,72\n' * 3, []),
    "100,000 rows": (
        b"patient,age\n" + b"".join(b"a-%d,70\n" % i for i in range(100_000)),
        ["10,000 patients"],
    ),
}  # fmt: skip


@pytest.fixture
def cohort(client):
    cohort = CohortFactory()
    client.force_login(cohort.created_by)
    return cohort


@pytest.fixture
def upload(client, cohort):
    def post(content, name="clinic.csv"):
        file = SimpleUploadedFile(name, content, content_type="text/csv")
        return client.post(reverse("inference:upload", args=[cohort.pk]), {"file": file})

    return post


def test_a_good_file_is_stored_and_leads_to_the_cohort(client, upload, cohort):
    response = upload(GOOD)

    page = client.get(response.url).content.decode()
    assert response.url == cohort.get_absolute_url()
    assert "2 new patients" in page
    assert "P-0001" in page
    assert "a-1" not in page


def test_the_same_file_twice_changes_nothing(client, upload):
    upload(GOOD)

    page = client.get(upload(GOOD).url).content.decode()

    assert "already in the cohort" in page
    assert Patient.objects.count() == 2


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_explained_and_nothing_is_stored(upload, name):
    content, words = BAD[name]

    response = upload(content)

    page = response.content.decode()
    assert response.status_code == 422
    assert "Nothing has been stored." in page
    assert "<title>Error:" in page
    assert all(word in page for word in words), page[page.find("<main") :][:4000]
    assert "<script>alert" not in page
    for model in (Patient, Finding, EhrUpload):
        assert not model.objects.exists()


def test_every_kind_of_problem_leads_to_its_first_row(upload):
    page = upload(b"patient,age\na-1,174\na-2,200\na-3,old\n").content.decode()

    assert "There are 3 problems in clinic.csv" in page
    assert '<a href="#out_of_range">2 values out of range</a>' in page
    assert page.count('id="out_of_range"') == 1


def test_a_page_of_problems_stays_readable_however_many_there_are(upload):
    rows = b"".join(b"a-%d,174\n" % i for i in range(900))

    page = upload(b"patient,age\n" + rows).content.decode()

    assert "The first 200 of 900 problems" in page
    assert page.count('class="bad-value"') == 200


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\clinic\\names\\mueller.csv", "/root/x.csv", "a" * 300]
)
def test_a_path_in_the_name_of_a_file_goes_nowhere(upload, name):
    response = upload(b"", name=name)

    page = response.content.decode()
    assert response.status_code == 422
    assert "passwd" in page or ".csv" in page or "aaa" in page
    assert not any(part in page for part in ("../", "etc/", "clinic\\", "/root/"))


def test_no_file_at_all_is_explained_at_the_field(client, cohort):
    response = client.post(reverse("inference:upload", args=[cohort.pk]), {})

    page = response.content.decode()
    assert response.status_code == 422
    assert "No file was chosen." in page
    assert 'aria-invalid="true"' in page


def test_too_large_a_file_is_refused_before_it_is_read(settings, upload):
    settings.MIRAGE_MAX_UPLOAD_BYTES = 2**20

    page = upload(b"x" * (2**20 + 1)).content.decode()

    assert "1.0 MB; at most 1 MB are read" in page


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\nbroken", b"--x\r\n" + b"y" * 5000], ids=["nothing", "cut off", "junk"]
)
def test_a_broken_request_is_never_a_fault_of_ours(client, cohort, body):
    response = client.generic(
        "POST",
        reverse("inference:upload", args=[cohort.pk]),
        body,
        content_type="multipart/form-data; boundary=x",
    )

    assert response.status_code in {400, 422}
    assert not EhrUpload.objects.exists()


def test_the_form_offers_samples_and_lists_every_accepted_column(client, cohort):
    page = client.get(reverse("inference:upload", args=[cohort.pk])).content.decode()

    assert "samples/sample-50-patients.csv" in page
    assert "<code>weight_kg</code>" in page
    assert "VSWEIGHT" in page


@pytest.mark.parametrize("sample", ["sample-50-patients.csv", "sample-50-patients-adni.csv"])
def test_the_samples_on_the_page_can_be_uploaded(upload, cohort, sample):
    response = upload(Path(finders.find(f"samples/{sample}")).read_bytes(), name=sample)

    assert response.status_code == 302
    assert cohort.patients.count() == 50


def test_the_sample_with_errors_shows_them(upload):
    page = upload(
        Path(finders.find("samples/sample-with-errors.csv")).read_bytes()
    ).content.decode()

    assert "31/02/1948" in page
    assert not Patient.objects.exists()

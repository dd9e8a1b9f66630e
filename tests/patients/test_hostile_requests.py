"""Hostile requests to the real web server: answered, soon, without a crash or a stored byte."""

import json

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from apps.patients.importing.folder import ImportFolder
from apps.patients.models import EhrImport
from tests.patients.hostile.installation import TOKEN

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
FILE = b"patient,age\na1,70\n"
MOST_S, MOST_MB = 2.0, 200
NAMES = {
    "a path": "../../../etc/cron.d/x.csv",
    "NUL": "a%00b.csv",
    "300 characters": "x" * 300 + ".csv",
    "right-to-left override": "\u202evsc.exe",
    "a leading dash": "-rf.csv",
    "script": "<script>alert(1)</script>.csv",
}


@pytest.fixture(autouse=True)
def _within_limits(installation):
    """Whatever is asked, the server stays alive, quick and small, and has met no bug."""
    installation.web.begin()
    told = installation.log("web").count("Traceback")
    yield
    spent = installation.web.spent()
    assert installation.web.is_alive()
    assert (spent.cpu_s <= MOST_S, spent.grown_mb <= MOST_MB) == (True, True), spent
    assert installation.log("web").count("Traceback") == told


def assert_nothing_taken(installation):
    assert not EhrImport.objects.exists()
    folder = ImportFolder(installation.cohort.pk).path.parent
    assert not folder.exists() or not list(folder.iterdir())


def test_100_000_form_fields(installation):
    fields = {f"f{n}": "x" for n in range(100_000)}
    answer = installation.post_form(fields, {"file": ("x.csv", FILE)})

    assert answer.status == 400
    assert_nothing_taken(installation)


def test_100_files(installation):
    files = {f"file{n}": (f"{n}.csv", FILE) for n in range(100)}

    assert installation.post_form({}, files).status == 400
    assert_nothing_taken(installation)


def test_no_file(installation):
    assert installation.post_form({}, {}).status == 422
    assert_nothing_taken(installation)


def test_a_file_of_a_gigabyte_is_refused_before_it_is_sent(installation):
    status = installation.raw(_head(installation, 1_000_000_000), b"--x\r\n" * 100)

    assert " 413 " in status
    assert_nothing_taken(installation)


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "+5", "99999999999999999999999999"])
def test_a_length_that_is_none(installation, length):
    status = installation.raw(_head(installation, length), FILE)

    assert status[9:10] == "4", status
    assert_nothing_taken(installation)


def test_two_lengths(installation):
    head = _head(installation, 5).replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n")

    assert " 400 " in installation.raw(head, b"hello")


def test_less_than_was_announced_is_not_taken_for_the_whole(installation):
    part = (
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n{FILE.decode()}'
    )
    installation.raw_and_hang_up(_head(installation, 100_000), part.encode())

    assert installation.get("/healthz").status == 200
    assert_nothing_taken(installation)


def test_more_than_was_announced_is_not_read(installation):
    whole = _body(FILE)
    status = installation.raw(_head(installation, len(whole) - 40), whole)

    assert status[9:10] in {"3", "4"}, status


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1@evil.example", "a b", "", "x" * 5_000])
def test_a_host_that_is_not_ours(installation, host):
    status = installation.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert " 400 " in status


@pytest.mark.parametrize(
    "place", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere"]
)
def test_signing_in_never_leads_elsewhere(installation, place):
    installation.user.password = PBKDF2PasswordHasher().encode(PASSWORD, "salt" * 6)
    installation.user.save()
    fields = {
        "username": installation.user.username,
        "password": PASSWORD,
        "next": place,
    }
    answer = installation.post_form(
        fields, {}, path="/sign-in/", Cookie=f"csrftoken={TOKEN}", Accept="text/html"
    )

    assert answer.status == 302
    assert "elsewhere" not in answer.headers["location"]


def test_a_form_without_its_token(installation):
    answer = installation.post_form({"csrfmiddlewaretoken": "x" * 32}, {"file": ("x.csv", FILE)})

    assert answer.status == 403
    assert_nothing_taken(installation)


def test_a_stranger_cannot_upload(installation):
    answer = installation.post_form(
        {}, {"file": ("x.csv", FILE)}, Cookie=f"csrftoken={TOKEN}", Accept="text/html"
    )

    assert answer.status == 302
    assert "/sign-in/" in answer.headers["location"]
    assert_nothing_taken(installation)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_a_method_that_is_not_offered(installation, method):
    path = f"/cohorts/{installation.cohort.pk}/import/"
    answer = installation.request(
        method, path, headers={"Cookie": installation.cookies, "X-CSRFToken": TOKEN}
    )

    assert answer.status == 405


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_shown_as_text_and_never_a_path(installation, name):
    answer = installation.upload(FILE, NAMES[name])
    ehr_import = installation.import_of(answer)
    page = installation.get(f"/imports/{ehr_import.pk}/")

    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    assert "/" not in ehr_import.file_name
    assert len(ehr_import.file_name) <= 150
    installation.work(ehr_import)


def test_the_reason_is_json_for_a_program_and_a_page_for_a_person(installation):
    told = json.loads(installation.upload(b"").text)
    page = installation.post_form({}, {"file": ("x.csv", b"")}, Accept="text/html")

    assert "empty" in told["message"]
    assert (page.status, "empty" in page.text) == (422, True)


def _head(installation, length):
    return (
        f"POST /cohorts/{installation.cohort.pk}/import/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Cookie: {installation.cookies}\r\nX-CSRFToken: {TOKEN}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def _body(content):
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n"

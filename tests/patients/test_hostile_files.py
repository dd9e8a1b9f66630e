"""Hostile files through real HTTP and a real worker: a reason, soon, in little memory.

Time is processor time, which a busy machine does not stretch. Each file is uploaded, read and, if
it could be read, checked; it is never stored, because none of them is committed.
"""

import pytest
from django.utils import timezone

from apps.jobs.models import JobState
from apps.patients.importing import services
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding, Patient
from tests.patients.hostile.files import FILES, End

MOST_S = 2.0
MOST_MB = 200


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_gets_a_reason_and_stores_nothing(installation, name):
    item = FILES[name]
    content = item.make()
    for process in (installation.web, installation.worker):
        process.begin()

    answer = installation.upload(content, "../../<b>\u202ehostile.csv")

    if item.end is End.REFUSED:
        assert answer.status == 422, answer.text[:500]
        assert "message" in answer.text
        assert not EhrImport.objects.exists()
    else:
        assert answer.status == 302, answer.text[:500]
        follow(installation, installation.import_of(answer), item)
    for process in (installation.web, installation.worker):
        spent = process.spent()
        assert process.is_alive()
        assert spent.cpu_s <= MOST_S, spent
        assert spent.grown_mb <= MOST_MB, spent
    assert not Patient.objects.exists()
    assert not Finding.objects.exists()
    assert not list(ImportFolder(installation.cohort.pk).path.parent.iterdir())


def follow(installation, ehr_import, item):
    """Read and check an import that was taken in, look at its pages, and give it up."""
    step = installation.work(ehr_import)
    if item.end is End.UNREADABLE:
        assert (step.state, ehr_import.stage) == (JobState.FAILED, Stage.ANALYSING)
        assert len(step.reason) > 20
        assert "should not" not in step.reason, "that is the reason of a bug"
    else:
        assert step.state == JobState.SUCCEEDED, step.reason
        check(installation, ehr_import, item)
    assert_page(installation, f"/imports/{ehr_import.pk}/")
    assert installation.post_form({}, {}, path=f"/imports/{ehr_import.pk}/cancel/").status == 302
    ehr_import.refresh_from_db()
    assert ehr_import.stage == Stage.CANCELLED


def check(installation, ehr_import, item):
    assert_page(installation, f"/imports/{ehr_import.pk}/")
    installation.decide_rest(ehr_import)
    ehr_import.refresh_from_db()
    services.check(ehr_import=ehr_import, requested_by=installation.user, now=timezone.now())
    step = installation.work(ehr_import)
    if item.end is End.EMPTY:
        assert (step.state, ehr_import.stage) == (JobState.FAILED, Stage.CHECKING)
        return
    assert step.state == JobState.SUCCEEDED, step.reason
    found = services.page_of_problems(ehr_import=ehr_import)
    errors = {count.code for count in found.counts if count.severity == "error"}
    assert errors == item.codes
    assert bool(found.rows_refused) == (item.end is End.PROBLEMS)
    assert_page(installation, f"/imports/{ehr_import.pk}/errors/")


def assert_page(installation, path):
    answer = installation.get(path)
    assert answer.status == 200, answer.text[:2000]
    assert "<script>alert" not in answer.text or "text/csv" in answer.headers["content-type"]

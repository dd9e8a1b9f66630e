"""A real worker carries an import out, and a killed one loses and doubles nothing."""

from io import BytesIO

import pytest
from django.utils import timezone

from apps.patients.importing import services
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, Finding, ImportStep, Patient
from tests.factories import CohortFactory

pytestmark = pytest.mark.django_db(transaction=True)
READY_S = 90


@pytest.fixture(autouse=True)
def _own_data_folder(settings):
    """The worker's own folder, which the test's process must share."""
    settings.MIRAGE_DATA_DIR.mkdir(exist_ok=True)


@pytest.fixture
def reach(wait_until):
    """Wait until an import has come to a stage."""

    def wait(ehr_import, stage):
        def is_there():
            ehr_import.refresh_from_db()
            return ehr_import.stage == stage

        wait_until(is_there, seconds=READY_S)

    return wait


@pytest.mark.slow
def test_a_worker_takes_a_file_from_upload_to_findings_and_back(workers, reach):
    workers.start("sweep")
    workers.start("import")
    cohort = CohortFactory()
    user, now = cohort.created_by, timezone.now()
    rows = "".join(f"p{n},{20 + n % 60}\n" for n in range(2_000))
    ehr_import = services.start_import(
        cohort=cohort,
        file=BytesIO(f"patient,age\n{rows}".encode()),
        name="file.csv",
        uploaded_by=user,
        now=now,
    )
    reach(ehr_import, Stage.MAPPING)
    services.check(ehr_import=ehr_import, requested_by=user, now=now)
    reach(ehr_import, Stage.CHECKED)
    services.commit(ehr_import=ehr_import, requested_by=user, now=now)
    reach(ehr_import, Stage.COMMITTED)

    assert (Patient.objects.count(), Finding.objects.count()) == (2_000, 2_000)

    services.undo(ehr_import=EhrImport.objects.get(), requested_by=user, now=now)
    reach(ehr_import, Stage.UNDONE)

    assert not Patient.objects.exists()
    assert ImportStep.objects.filter(state="succeeded").count() == 4

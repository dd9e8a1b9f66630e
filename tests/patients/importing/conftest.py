"""An import from file to findings, by the services that pages call and the worker's own code."""

from io import BytesIO

import pytest

from apps.patients.importing import runner, services
from apps.patients.models import Finding, Patient
from tests.factories import NOW, CohortFactory
from tests.patients.importing.wizard import Wizard


@pytest.fixture(scope="session")
def text_vectors(tmp_path_factory):
    """The vectors of the dictionary's names, computed once a session."""
    return tmp_path_factory.mktemp("text-vectors")


@pytest.fixture(autouse=True)
def _own_data_folder(settings, tmp_path, text_vectors):
    settings.MIRAGE_JOB_LEASE_S = 600  # a test's transaction hides the row from the lease's thread
    settings.MIRAGE_DATA_DIR = tmp_path / "data"
    settings.MIRAGE_DATA_DIR.mkdir()
    (settings.MIRAGE_DATA_DIR / "text-vectors").symlink_to(text_vectors)


@pytest.fixture
def cohort(db):
    return CohortFactory()


class Importer:
    """Takes a file through the steps of an import, as the wizard does."""

    def __init__(self, cohort):
        self.cohort = cohort
        self.user = cohort.created_by

    def start(self, content, name="file.csv", *, now=NOW, cohort=None, sheet=""):
        into = cohort or self.cohort
        found = services.start_import(
            cohort=into,
            file=BytesIO(content.encode() if isinstance(content, str) else content),
            name=name,
            uploaded_by=into.created_by,
            now=now,
            sheet=sheet,
            send=False,
        )
        return self.work(found)

    def work(self, ehr_import):
        runner.carry_out_step(step_id=ehr_import.step.pk)
        ehr_import.refresh_from_db()
        return ehr_import

    def check(self, ehr_import, **options):
        services.check(
            ehr_import=ehr_import, requested_by=self.user, now=NOW, send=False, **options
        )
        return self.work(ehr_import)

    def commit(self, ehr_import, *, leave_out=False):
        services.commit(
            ehr_import=ehr_import,
            requested_by=self.user,
            now=NOW,
            leave_out_refused=leave_out,
            send=False,
        )
        return self.work(ehr_import)

    def through(self, content, name="file.csv", *, leave_out=False, **options):
        """Everything, with columns that nobody knows ignored."""
        ehr_import = self.start(content, name, **options)
        for column in services.mapping_of(ehr_import=ehr_import).columns:
            if column.needs_decision:
                self.decide(ehr_import, column.key, "ignore")
        self.check(ehr_import)
        return self.commit(ehr_import, leave_out=leave_out)

    def decide(self, ehr_import, key, action, **options):
        return services.decide_column(
            ehr_import=ehr_import, key=key, action=action, decided_by=self.user, **options
        )

    def undo(self, ehr_import):
        services.undo(ehr_import=ehr_import, requested_by=self.user, now=NOW, send=False)
        return self.work(ehr_import)

    def problems(self, ehr_import, **options):
        return services.page_of_problems(ehr_import=ehr_import, per_page=200, **options)

    def column(self, ehr_import, key):
        columns = services.mapping_of(ehr_import=ehr_import).columns
        return next(column for column in columns if column.key == key)


@pytest.fixture
def importer(cohort):
    return Importer(cohort)


@pytest.fixture
def wizard(client, importer):
    client.force_login(importer.user)
    return Wizard(client, importer)


@pytest.fixture
def values():
    """What is stored of a patient: concept to value."""

    def of(number=1):
        patient = Patient.objects.get(number=number)
        return dict(
            Finding.objects.filter(patient=patient).newest().values_list("concept", "value")
        )

    return of

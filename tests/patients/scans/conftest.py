import pytest

from tests.factories import PatientFactory


@pytest.fixture
def patient(db, settings, tmp_path):
    """A patient of an owner, with empty folders."""
    settings.MIRAGE_DATA_DIR = tmp_path / "data"
    return PatientFactory(number=1)


@pytest.fixture
def owner(patient):
    return patient.cohort.created_by


@pytest.fixture
def at_once(django_capture_on_commit_callbacks):
    """What is due at the commit is done."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def left(settings):
    """Every file that is kept of scans, private and shown."""

    def found():
        folders = (settings.MIRAGE_DATA_DIR / "scans", settings.MEDIA_ROOT / "scans")
        return sorted(p.name for folder in folders for p in folder.rglob("*") if p.is_file())

    return found

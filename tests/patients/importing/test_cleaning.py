"""Imports that nobody went on with are given up, and no file outlives its import."""

import os
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.patients.importing import cleaning
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.stages import Stage
from apps.patients.models import EhrImport, ImportStep
from tests.factories import NOW

pytestmark = pytest.mark.django_db
FILE = "patient,age\nann,71\n"
DAYS = timedelta(days=14)


@pytest.fixture
def cleaned(django_capture_on_commit_callbacks):
    def clean(*, now, **options):
        with django_capture_on_commit_callbacks(execute=True):
            return cleaning.clean_up(now=now, older_than=DAYS, **options)

    return clean


def last_moved_at(ehr_import, moment):
    ImportStep.objects.filter(ehr_import=ehr_import).update(finished_at=moment)


def left_folder(*, hours_old):
    folder = ImportFolder(uuid4()).path
    folder.mkdir(parents=True)
    (folder / "file").write_text(FILE)
    moment = time.time() - 3_600 * hours_old
    os.utime(folder, (moment, moment))
    return folder


def test_an_import_without_a_step_for_days_is_given_up_with_its_file(importer, cleaned):
    ehr_import = importer.start(FILE)
    last_moved_at(ehr_import, NOW)
    done = cleaned(now=NOW + timedelta(days=15))

    ehr_import.refresh_from_db()
    assert done.imports == (ehr_import.pk,)
    assert ehr_import.stage == Stage.CANCELLED
    assert not ImportFolder(ehr_import.pk).path.exists()


def test_an_import_that_moved_lately_or_is_being_worked_on_is_kept(importer, cleaned):
    moved, queued = importer.start(FILE), importer.start(FILE.replace("71", "72"))
    last_moved_at(moved, NOW + timedelta(days=10))
    ImportStep.objects.filter(ehr_import=queued).update(state="queued", finished_at=None)

    assert cleaned(now=NOW + timedelta(days=15)).imports == ()
    assert {e.stage for e in EhrImport.objects.all()} == {Stage.MAPPING}
    assert ImportFolder(moved.pk).file.exists()


def test_what_is_stored_is_never_given_up(importer, cleaned):
    done = importer.through(FILE)
    last_moved_at(done, NOW)

    assert cleaned(now=NOW + timedelta(days=999)).imports == ()
    done.refresh_from_db()
    assert done.stage == Stage.COMMITTED


def test_a_folder_that_a_crash_left_is_deleted_and_a_young_one_is_not(importer, cleaned):
    old, young = left_folder(hours_old=2), left_folder(hours_old=0)
    kept = importer.start(FILE)
    os.utime(ImportFolder(kept.pk).path, (0, 0))
    last_moved_at(kept, NOW)

    assert cleaned(now=NOW).folders == 1
    assert (old.exists(), young.exists(), ImportFolder(kept.pk).path.exists()) == (
        False,
        True,
        True,
    )


def test_a_dry_run_changes_nothing(importer, cleaned):
    ehr_import = importer.start(FILE)
    last_moved_at(ehr_import, NOW)
    old = left_folder(hours_old=2)
    would = cleaned(now=NOW + timedelta(days=15), dry_run=True)

    ehr_import.refresh_from_db()
    assert (len(would.imports), would.folders) == (1, 1)
    assert ehr_import.stage == Stage.MAPPING
    assert old.exists()


def test_the_command_says_what_went(importer, capsys):
    ehr_import = importer.start(FILE)
    last_moved_at(ehr_import, NOW - timedelta(days=400))
    EhrImport.objects.update(requested_at=NOW - timedelta(days=400))
    call_command("clean_imports", "--days", "3")

    assert capsys.readouterr().out == "Imports given up: 1. Folders deleted: 0.\n"
    with pytest.raises(CommandError, match="between 0 and"):
        call_command("clean_imports", "--days", "-1")


def test_taking_an_import_back_leaves_no_file(importer):
    undone = importer.undo(importer.through(FILE))

    assert undone.stage == Stage.UNDONE
    assert not ImportFolder(undone.pk).path.exists()

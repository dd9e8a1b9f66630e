"""Deleting a patient or a cohort with everything that is kept of them.

Rows go first, in one transaction; their files when it is committed. What is left over by a crash
between the two is a file without a row, which `manage.py fsck` finds; never a row without its file.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.errors import MirageError
from apps.patients import dependents
from apps.patients.dependents import Amount
from apps.patients.models import Cohort, Patient
from apps.patients.permissions import check_may_edit, check_owns

logger = logging.getLogger(__name__)
PATIENTS_AT_ONCE = 5_000  # PostgreSQL keeps a copy of each row that one statement deletes


class DeletionRefusedError(MirageError):
    """It cannot be deleted now, or was not confirmed; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What would go, and why it cannot go now, if so."""

    amounts: Sequence[Amount]
    refused: str


def deletion_of(*, cohort: Cohort, patient: Patient | None = None) -> Deletion:
    """What deleting a cohort, or one of its patients, takes along."""
    found = dependents.amounts(cohort=cohort, patient=patient)
    return Deletion(
        amounts=[amount for amount in found if amount.n],
        refused=dependents.busy(cohort=cohort, patient=patient),
    )


@transaction.atomic
def delete_patient(*, patient: Patient, typed: str, deleted_by: User) -> None:
    """Delete a patient with findings, predictions and volumes.

    Args:
        patient: who.
        typed: the pseudonym, typed by the user.
        deleted_by: may change the cohort.

    Raises:
        DeletionRefusedError: another name was typed, or work on the patient is under way.
        NotAllowedError: the user may not change the cohort.
    """
    cohort = Cohort.objects.select_for_update().get(pk=patient.cohort_id)
    check_may_edit(cohort, deleted_by)
    _check_typed(typed, patient.pseudonym)
    _check_idle(cohort, patient)
    files = dependents.delete(cohort=cohort, patient=patient)
    _delete_patients(cohort, patient.number, patient.number)
    cohort.numbers_given = max(cohort.numbers_given, patient.number)
    cohort.save(update_fields=["numbers_given"])
    transaction.on_commit(partial(_delete_files, files))


@transaction.atomic
def delete_cohort(*, cohort: Cohort, typed: str, deleted_by: User) -> None:
    """Delete a cohort with its patients, imports, runs and volumes.

    Args:
        cohort: which.
        typed: its name, typed by the user.
        deleted_by: an owner of it.

    Raises:
        DeletionRefusedError: another name was typed, or work on the cohort is under way.
        NotAllowedError: the user does not own the cohort.
    """
    held = Cohort.objects.select_for_update().get(pk=cohort.pk)
    check_owns(held, deleted_by)
    _check_typed(typed, held.name)
    _check_idle(held, None)
    files = dependents.delete(cohort=held, patient=None)
    last = held.patients.aggregate(last=Max("number"))["last"] or 0
    for first in range(1, last + 1, PATIENTS_AT_ONCE):
        _delete_patients(held, first, first + PATIENTS_AT_ONCE - 1)
    held.delete()
    transaction.on_commit(partial(_delete_files, files))


def _check_typed(typed: str, name: str) -> None:
    if " ".join(typed.split()) != " ".join(name.split()):
        raise DeletionRefusedError(
            f"Nothing was deleted, because another name was typed. Type {name} to confirm."
        )


def _check_idle(cohort: Cohort, patient: Patient | None) -> None:
    if reason := dependents.busy(cohort=cohort, patient=patient):
        raise DeletionRefusedError(f"Nothing was deleted. {reason}")


def _delete_patients(cohort: Cohort, first: int, last: int) -> None:
    """Patients by number; a trigger takes their findings along (migration 0003)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM patients_patient WHERE cohort_id = %s AND number BETWEEN %s AND %s",
            [cohort.pk, first, last],
        )


def _delete_files(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            logger.warning("A file is left over, because the disk refused: run `manage.py fsck`")

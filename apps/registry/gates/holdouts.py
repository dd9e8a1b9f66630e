"""The folder of a holdout: where it is, what it is made of, whom it holds.

A retired holdout has no folder any more: what it said of bundles stays, its people do not.
"""

import csv
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now

from apps.errors import MirageError
from apps.jobs.models import ACTIVE_STATES, JobState
from apps.patients.dependents import Amount, Leftover
from apps.patients.leftovers import is_old
from apps.patients.models import Cohort, Patient
from apps.registry.models import Evaluation, GateCheck, Holdout
from apps.registry.training.snapshot import participant_of
from ml.card import sha256_of

PEOPLE_FILE = "participants.tsv"
_ACTIVE = [str(state) for state in ACTIVE_STATES]


class HoldoutError(MirageError):
    """A holdout cannot be frozen or used; the text says why and what to do."""


def folder_of_holdout(pk: UUID) -> Path:
    """Where the people of a frozen holdout are."""
    return _parent() / str(pk)


def hash_of(folder: Path) -> str:
    """SHA-256 over the names and the SHA-256 of all files of a folder, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def people_of(folder: Path) -> list[dict[str, str]]:
    """The rows of its participants; none where there is no folder."""
    path = folder / PEOPLE_FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def frozen_holdouts() -> Sequence[Holdout]:
    """Holdouts that may judge: frozen and not retired, newest first."""
    return list(Holdout.objects.filter(state=JobState.SUCCEEDED, retired_at=None))


class Holdouts:
    """What deleting patients has to do with holdouts: those that hold them are retired."""

    def busy(self, cohort: Cohort, patient: Patient | None) -> str:
        """People are not taken out from under a freeze, a check or an evaluation."""
        if Holdout.objects.filter(cohorts=cohort, state__in=_ACTIVE).exists():
            return (
                "A holdout of this cohort is being frozen. Wait until it is, or have an "
                "administrator cancel it."
            )
        if any(
            judging.objects.filter(holdout__cohorts=cohort, state__in=_ACTIVE).exists()
            for judging in (GateCheck, Evaluation)
        ):
            return (
                "A model is being judged on a holdout of this cohort. Wait some minutes, or have "
                "an administrator cancel it."
            )
        return ""

    def amounts(self, cohort: Cohort, patient: Patient | None) -> Sequence[Amount]:
        """Only said where there is one: few cohorts are in a holdout."""
        held = len(_holding(cohort, patient))
        return (
            [Amount(held, "holdout that is retired", "holdouts that are retired")] if held else []
        )

    def delete(self, cohort: Cohort, patient: Patient | None) -> Sequence[Path]:
        """A holdout without one of its people is no longer what was frozen: it judges nobody."""
        holding = _holding(cohort, patient)
        Holdout.objects.filter(pk__in=[each.pk for each in holding]).update(retired_at=Now())
        if patient is None:
            for each in Holdout.objects.filter(cohorts=cohort):
                each.cohorts.remove(cohort)
        return [folder_of_holdout(each.pk) for each in holding]


def leftover_holdouts() -> Iterator[Leftover]:
    """Folders that no freeze is writing and no holdout needs."""
    needed = {str(each.pk) for each in frozen_holdouts()}
    active = tuple(str(pk) for pk in Holdout.objects.active().values_list("pk", flat=True))
    for folder in sorted(_parent().glob("*")):
        if folder.name in needed or folder.name.startswith(active or ("-",)) or not is_old(folder):
            continue
        yield Leftover(
            f"holdouts/{folder.name}: a folder without a holdout", partial(shutil.rmtree, folder)
        )


def _holding(cohort: Cohort, patient: Patient | None) -> list[Holdout]:
    found = Holdout.objects.filter(cohorts=cohort, state=JobState.SUCCEEDED, retired_at=None)
    if patient is None:
        return list(found)
    name = participant_of(patient)
    return [
        each
        for each in found
        if any(row["participant_id"] == name for row in people_of(folder_of_holdout(each.pk)))
    ]


def _parent() -> Path:
    return Path(settings.MEDIA_ROOT) / "holdouts"

"""Carry out a freeze. Called by a task, which a broker may deliver twice."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from apps.errors import MirageError
from apps.jobs.attempt import Attempt, carry_out
from apps.review import order
from apps.review.models import (
    Case,
    Reader,
    ReaderStudy,
    Slot,
    StudyEvent,
    StudyFreeze,
    StudyState,
)

FOLDER = "studies"


class StudyStorageError(MirageError):
    """A study copy could not be written."""


def freeze(*, freeze_id: UUID) -> None:
    """Make the study copies and orders of a study and open it; nothing if another worker has it."""
    carry_out(StudyFreeze, freeze_id, _freeze)


def _freeze(attempt: Attempt[StudyFreeze]) -> None:
    """Copy by copy, each committed with the progress: a later attempt goes on where one stopped."""
    study = attempt.job().study
    spacing_mm = study.plan.spacing_mm
    waiting = study.cases.filter(file="").select_related("scan", "pseudo_mri").order_by("number")
    for case in waiting:
        _copy(attempt, case, spacing_mm)
    with attempt.writing() as held:
        open_study(ReaderStudy.objects.select_for_update().get(pk=held.study_id))
        attempt.finish()


def _copy(attempt: Attempt[StudyFreeze], case: Case, spacing_mm: float) -> None:
    """Write one study copy under a random name, then name it in the row."""
    from apps.review import rendering  # noqa: PLC0415 - numpy, which no web process loads

    source = case.pseudo_mri or case.scan
    content = rendering.study_copy(
        Path(settings.MEDIA_ROOT) / (source.file if source else "gone"),
        sha256=case.source_sha256,
        spacing_mm=spacing_mm,
        case=case.number,
    )
    path = Path(settings.MEDIA_ROOT) / FOLDER / f"{secrets.token_hex(16)}.nii"
    try:
        _write(path, content)
        with attempt.writing() as held:
            held.study.cases.filter(pk=case.pk).update(
                file=path.relative_to(settings.MEDIA_ROOT).as_posix(),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            held.done = held.study.cases.exclude(file="").count()
            held.save(update_fields=["done"])
    except BaseException:
        with suppress(OSError):  # what is being raised says more
            path.unlink()
        raise


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
    except OSError as error:
        raise StudyStorageError(
            f"A study copy could not be written ({error.strerror}). Make room on the disk, then "
            "retry."
        ) from error


def open_study(study: ReaderStudy) -> None:
    """Give each reader their order and open the study, in the caller's transaction."""
    plan = study.plan
    gaps = []
    for reader in study.readers.order_by("number"):
        found = _order(study, reader)
        gaps.append(found.gap)
        _create_slots(study, reader, found)
    study.state = StudyState.OPEN
    study.protocol_sha256 = plan.sha256()
    study.opened_at = now = timezone.now()
    study.save(update_fields=["state", "protocol_sha256", "opened_at"])
    known = [gap for gap in gaps if gap is not None]
    StudyEvent.objects.create(
        study=study,
        kind=StudyEvent.Kind.OPENED,
        actor=study.manager,
        happened_at=now,
        details={
            "protocol_sha256": study.protocol_sha256,
            "order_algorithm": order.ALGORITHM,
            "order_sha256": _order_hash(study),
            "seed": plan.seed,
            "cases": study.cases.count(),
            "readers": len(gaps),
            "least_repeat_gap": min(known, default=None),
        },
    )


def _order(study: ReaderStudy, reader: Reader) -> order.Order:
    cases = list(study.cases.values_list("number", "arm", "is_practice"))
    return order.order_of(
        {number: arm for number, arm, is_practice in cases if not is_practice},
        practice={number: arm for number, arm, is_practice in cases if is_practice},
        repeats=study.plan.repeats,
        seed=study.plan.seed,
        reader=reader.number,
    )


def _create_slots(study: ReaderStudy, reader: Reader, found: order.Order) -> None:
    case_of = dict(study.cases.values_list("number", "pk"))
    first: dict[int, Slot] = {}
    for place, each in enumerate(found.presentations):
        slot = Slot.objects.create(
            reader=reader,
            case_id=case_of[each.case],
            position=place + 1,
            repeat_of=None if each.repeats is None else first[each.repeats],
        )
        first[place] = slot


def _order_hash(study: ReaderStudy) -> str:
    """Of reader, position and case number of all presentations."""
    rows = Slot.objects.filter(reader__study=study).order_by("reader__number", "position")
    lines = (
        f"{reader} {position} {case}\n"
        for reader, position, case in rows.values_list("reader__number", "position", "case__number")
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()

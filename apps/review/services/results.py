"""What the manager of a study does after the readings: lock, unblind, analyse, export.

Each act that cannot be taken back takes a `Signature`, and its line in the log is written in the
same transaction.
"""

from collections.abc import Mapping
from datetime import datetime

from django.db import IntegrityError, transaction

from apps.accounts.models import User
from apps.accounts.signing import Signature
from apps.errors import MirageError
from apps.jobs import queue
from apps.review.exporting import Export, ExportKind, write_export
from apps.review.models import (
    Amendment,
    ReaderStudy,
    Reading,
    StudyAnalysis,
    StudyEvent,
    StudyState,
)
from apps.review.ratings_of import missing_readings


class ResultsRefusedError(MirageError):
    """The study is not where this can be done; the text says where it stands."""


class MissingReadingsError(ResultsRefusedError):
    """Readings are missing, and the lock was not asked for in spite of just so many."""


@transaction.atomic
def lock_study(
    *, study: ReaderStudy, signature: Signature, missing_accepted: int, now: datetime
) -> ReaderStudy:
    """End the readings: from now on none is saved, submitted or amended.

    Whoever saves an answer holds the same row, so an answer is either in before the lock or
    refused after it.

    Args:
        missing_accepted: how many readings the manager was told to be missing, and accepts.

    Raises:
        ResultsRefusedError: the study is not open.
        MissingReadingsError: another number of readings is missing.
    """
    held = _held(study, StudyState.OPEN, "locked")
    missing = missing_readings(held)
    if missing != missing_accepted:
        raise MissingReadingsError(
            f"{_readings(missing)} still missing; you accepted {missing_accepted}. Wait for the "
            f"readers, or accept that {missing} will be missing."
        )
    held.state, held.locked_at = StudyState.LOCKED, now
    held.save(update_fields=["state", "locked_at"])
    submitted = Reading.objects.filter(slot__reader__study=held, submitted_at__isnull=False)
    _write_event(
        held,
        StudyEvent.Kind.LOCKED,
        signature,
        now,
        {
            "protocol_sha256": held.protocol_sha256,
            "submitted": submitted.count(),
            "missing": missing,
            "amendments": Amendment.objects.filter(reading__slot__reader__study=held).count(),
        },
    )
    return held


@transaction.atomic
def unblind_study(*, study: ReaderStudy, signature: Signature, now: datetime) -> StudyAnalysis:
    """Join the readings of a locked study to their arms, and ask for the statistics.

    Raises:
        ResultsRefusedError: the study is not locked, or is unblinded already.
    """
    held = _held(study, StudyState.LOCKED, "unblinded")
    held.state, held.unblinded_at = StudyState.UNBLINDED, now
    held.save(update_fields=["state", "unblinded_at"])
    details = {"protocol_sha256": held.protocol_sha256}
    _write_event(held, StudyEvent.Kind.UNBLINDED, signature, now, details)
    return request_analysis(study=held, requested_by=signature.user, now=now)


@transaction.atomic
def request_analysis(*, study: ReaderStudy, requested_by: User, now: datetime) -> StudyAnalysis:
    """Queue the statistics of an unblinded study.

    Raises:
        ResultsRefusedError: the study is still blind, or an analysis is under way.
    """
    held = _held(study, StudyState.UNBLINDED, "analysed")
    if held.analyses.filter(state__in=["queued", "running"]).exists():
        raise ResultsRefusedError(
            "An analysis of this study is under way. Its figures will appear here; ask for "
            "another when it has ended."
        )
    analysis = StudyAnalysis.objects.create(study=held, requested_by=requested_by, requested_at=now)
    queue.send_on_commit(analysis)
    return analysis


def cancel_analysis(*, analysis: StudyAnalysis) -> None:
    """Stop an analysis; the worker notices at its next step.

    Raises:
        ResultsRefusedError: it has ended.
    """
    if not StudyAnalysis.objects.all().cancel(analysis.pk):
        raise ResultsRefusedError("The analysis has already ended, so it cannot be cancelled.")


def retry_analysis(*, analysis: StudyAnalysis) -> None:
    """Queue a failed or cancelled analysis again.

    Raises:
        ResultsRefusedError: it is under way or done, or another one is under way.
    """
    try:
        with transaction.atomic():
            StudyAnalysis.objects.filter(pk=analysis.pk).update(share_done=0)
            if not StudyAnalysis.objects.all().retry(analysis.pk):
                raise ResultsRefusedError(
                    "The analysis is under way or done, so it cannot be retried."
                )
            queue.send_on_commit(analysis)
    except IntegrityError as error:  # the constraint that one analysis is active at a time
        raise ResultsRefusedError(
            "Another analysis of this study is under way. Wait until it has ended."
        ) from error


@transaction.atomic
def export_study(
    *, study: ReaderStudy, kind: ExportKind, signature: Signature, now: datetime
) -> Export:
    """Write one file of an unblinded study, and that it was taken.

    Raises:
        ResultsRefusedError: the study is still blind.
        ExportError: there is nothing to put into such a file.
    """
    held = _held(study, StudyState.UNBLINDED, "exported")
    export = write_export(held, kind, made_at=now)
    details = {
        "file": export.name,
        "sha256": export.sha256,
        "protocol_sha256": held.protocol_sha256,
        "script_version": export.script_version,
    }
    _write_event(held, StudyEvent.Kind.EXPORTED, signature, now, details)
    return export


def _held(study: ReaderStudy, state: StudyState, verb: str) -> ReaderStudy:
    """The study's row, held until the transaction ends, in the state that the act needs."""
    held = ReaderStudy.objects.select_for_update().get(pk=study.pk)
    if held.state != state:
        needed, stands = StudyState(state).label.lower(), held.get_state_display().lower()
        raise ResultsRefusedError(
            f"The study is {stands}, so it cannot be {verb}: that is done to a study that is "
            f"{needed}. Nothing was changed."
        )
    return held


def _readings(count: int) -> str:
    return "1 reading is" if count == 1 else f"{count:,} readings are"


def _write_event(
    study: ReaderStudy,
    kind: StudyEvent.Kind,
    signature: Signature,
    now: datetime,
    details: Mapping[str, str | int],
) -> None:
    StudyEvent.objects.create(
        study=study,
        kind=kind,
        actor=signature.user,
        is_signed=True,
        reason=signature.reason,
        details=dict(details),
        happened_at=now,
    )

"""The steps of an import, carried out by a worker: read, check, store, take back."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from apps.jobs.attempt import Attempt, LeaseLostError, carry_out
from apps.patients.importing import links, memory, opening, storing, templates
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.observing import ObservationReader
from apps.patients.importing.plan import By, ColumnPlan, Role, from_json, to_json
from apps.patients.importing.problems import ProblemLog, TooManyErrorsError
from apps.patients.importing.reading import TableReader, Tally
from apps.patients.importing.records import facts_from_json, facts_to_json
from apps.patients.importing.reporting import dropped_sentences
from apps.patients.importing.source import FileRefusedError
from apps.patients.importing.stages import Stage
from apps.patients.models import CodeConcept, Cohort, EhrImport, ImportStep
from ml.concepts import dictionary

_TOLD_EVERY_S = 0.5


def carry_out_step(*, step_id: UUID) -> None:
    """Do one step; nothing if another worker has it."""
    carry_out(ImportStep, step_id, _work)


def _work(attempt: Attempt[ImportStep]) -> None:
    step = attempt.job()
    _WORK[ImportStep.Kind(step.kind_of_work)](attempt, step.ehr_import)


def _analyse(attempt: Attempt[ImportStep], ehr_import: EhrImport) -> None:
    folder = ImportFolder(ehr_import.pk)
    try:
        with memory.bounded():
            opened = opening.analyse(_file_of(ehr_import), sheet=ehr_import.sheet)
    except FileRefusedError:
        folder.delete()  # the same bytes would be refused again, and nobody needs them
        raise
    template = templates.best_for(ehr_import.cohort, opened.columns)
    columns = templates.applied(template, opened.columns) if template else opened.columns
    columns = links.applied(ehr_import.cohort, columns)
    columns = _by_text(columns, opened.examples)
    folder.keep_examples(opened.examples)
    _end(
        attempt,
        ehr_import,
        Stage.ANALYSING,
        Stage.MAPPING,
        facts=facts_to_json(opened.facts, opened.problems),
        columns=to_json(columns),
        template=template,
        rows=opened.rows,
    )


def _check(attempt: Attempt[ImportStep], ehr_import: EhrImport) -> None:
    began = time.monotonic()
    log = ProblemLog(ImportFolder(ehr_import.pk).problems)
    reader = _reader(ehr_import, log)
    with _progress(attempt, reader.tally, ehr_import.rows):
        try:
            something = False
            for _ in reader.rows():
                something = True
                attempt.raise_if_lost()
        except TooManyErrorsError:
            log.close()
            raise FileRefusedError(
                "too_many_errors",
                f"Reading stopped after {log.errors:,} errors. Look at the columns again: one may "
                "be matched to the wrong concept or unit.",
            ) from None
    log.close()
    if not something and not log.errors:
        raise FileRefusedError(
            "nothing",
            "No row holds a value in the columns that are to be stored. Look at the columns again, "
            "or at the file.",
        )
    counts = [[code, severity, n] for (code, severity), n in log.counts.most_common()]
    _end(
        attempt,
        ehr_import,
        Stage.CHECKING,
        Stage.CHECKED,
        facts=ehr_import.facts | {"patients": len(reader.tally.persons)},
        problem_counts=counts,
        rows=reader.tally.rows,
        rows_refused=reader.tally.refused,
        dropped=dropped_sentences(from_json(ehr_import.columns), reader.tally),
        check_s=time.monotonic() - began,
    )


def _commit(attempt: Attempt[ImportStep], ehr_import: EhrImport) -> None:
    log = ProblemLog(None, keep=0)  # they are known from the check
    reader = _reader(ehr_import, log)
    with _progress(attempt, reader.tally, ehr_import.rows), transaction.atomic():
        cohort = Cohort.objects.select_for_update().get(pk=ehr_import.cohort_id)
        now = timezone.now()
        people = storing.Pseudonymiser(cohort, key=settings.MIRAGE_IDENTIFIER_KEY, now=now)
        stored = storing.store(reader.rows(), people, now=now, still_wanted=attempt.raise_if_lost)
        if reader.tally.refused != ehr_import.rows_refused:
            raise FileRefusedError(
                "changed", "The file is not the one that was checked. Upload it again."
            )
        _name_codes(from_json(ehr_import.columns))
        _end(
            attempt,
            ehr_import,
            Stage.COMMITTING,
            Stage.COMMITTED,
            committed_at=now,
            patients_new=stored.patients_new,
            patients_updated=stored.patients_updated,
            findings=stored.findings,
            notes=_notes(stored),
        )
    ImportFolder(ehr_import.pk).delete()


def _undo(attempt: Attempt[ImportStep], ehr_import: EhrImport) -> None:
    assert ehr_import.committed_at is not None  # noqa: S101 - a constraint of the table
    with transaction.atomic():
        cohort = Cohort.objects.select_for_update().get(pk=ehr_import.cohort_id)
        storing.remove(cohort, ehr_import.committed_at)
        _end(attempt, ehr_import, Stage.UNDOING, Stage.UNDONE)


_WORK: dict[ImportStep.Kind, Callable[[Attempt[ImportStep], EhrImport], None]] = {
    ImportStep.Kind.ANALYSE: _analyse,
    ImportStep.Kind.CHECK: _check,
    ImportStep.Kind.COMMIT: _commit,
    ImportStep.Kind.UNDO: _undo,
}


def _end(
    attempt: Attempt[ImportStep],
    ehr_import: EhrImport,
    before: Stage,
    after: Stage,
    **changes: object,
) -> None:
    """Record the results and the end of the step together, if the step is still wanted."""
    with attempt.writing() as step:
        if not EhrImport.objects.move(ehr_import.pk, before, after, **changes):
            raise LeaseLostError
        attempt.finish(done=step.total)


def _reader(ehr_import: EhrImport, log: ProblemLog) -> TableReader | ObservationReader:
    return opening.reader_of(
        _file_of(ehr_import),
        facts_from_json(ehr_import.facts),
        from_json(ehr_import.columns),
        log=log,
        now=ehr_import.requested_at,
    )


def _file_of(ehr_import: EhrImport) -> Path:
    """The import's file.

    Raises:
        FileRefusedError: it is no longer there.
    """
    file = ImportFolder(ehr_import.pk).file
    if not file.exists():
        raise FileRefusedError("gone", "The file is not kept any more. Upload it again.")
    return file


def _by_text(
    columns: tuple[ColumnPlan, ...], examples: dict[str, tuple[str, ...]]
) -> tuple[ColumnPlan, ...]:
    """Columns that nothing else explains, by the meaning of their names; loads torch."""
    if not any((c.needs_decision and not c.concept) or links.is_open(c) for c in columns):
        return columns
    from apps.patients.importing import text_matching  # noqa: PLC0415 - torch, in a worker alone

    cache = Path(settings.MIRAGE_DATA_DIR) / "text-vectors"
    encoder = text_matching.encoder(cache, settings.MIRAGE_TORCH_THREADS)
    columns = text_matching.match_by_text(columns, examples, encoder)
    return text_matching.suggest_links(columns, examples, encoder)


def _name_codes(columns: tuple[ColumnPlan, ...]) -> None:
    """Remember what codes are called that the dictionary does not have."""
    codes = [
        CodeConcept(id=concept, label=(column.label or column.header)[:120], unit=column.unit)
        for column in columns
        if column.role is Role.FINDING and column.decided_by is not By.NOBODY
        for concept in (column.concept, column.own)
        if concept and concept not in dictionary()
    ]
    CodeConcept.objects.bulk_create(codes, ignore_conflicts=True)


def _notes(stored: storing.Stored) -> list[str]:
    notes = []
    if stored.same:
        notes.append(f"{stored.same:,} findings were there already and are not stored again.")
    if stored.contradictory:
        notes.append(
            f"{stored.contradictory:,} findings have another value in the cohort for the same "
            "patient and moment; what was there is kept. To replace it, undo the earlier import."
        )
    return notes


@contextmanager
def _progress(attempt: Attempt[ImportStep], tally: Tally, total: int) -> Iterator[None]:
    """Write how many rows are read, from a thread with a connection of its own."""
    over = threading.Event()
    pk = attempt.job().pk

    def tell() -> None:
        while not over.wait(_TOLD_EVERY_S):
            try:
                held = ImportStep.objects.filter(pk=pk, attempt=attempt.number)
                held.update(done=min(tally.rows, total), total=total)
            except DatabaseError:
                return
            finally:
                connection.close()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

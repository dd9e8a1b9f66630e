"""What a user can do with an import. Pages and the command call these and nothing below them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import BinaryIO, Literal

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs import queue
from apps.patients.importing import error_file, links, opening, receiving, templates, undoing
from apps.patients.importing.deciding import ImportRefusedError, decide
from apps.patients.importing.folder import ImportFolder
from apps.patients.importing.plan import By, ColumnPlan, Role, from_json, to_json
from apps.patients.importing.presenting import (
    ColumnView,
    TemplateView,
    column_view,
    concept_choices,
    mapping_of,
    page_of_problems,
    status_of,
    template_view,
)
from apps.patients.importing.records import facts_from_json
from apps.patients.importing.source import Format, Shape
from apps.patients.importing.stages import OPEN_STAGES, Stage
from apps.patients.models import Cohort, EhrImport, ImportStep, MappingTemplate

__all__ = [
    "ErrorFile",
    "ImportRefusedError",
    "NotAllowedError",
    "UndecidedError",
    "cancel",
    "check",
    "commit",
    "concept_choices",
    "decide_column",
    "file_with_errors",
    "mapping_of",
    "page_of_problems",
    "retry",
    "saved_templates",
    "start_import",
    "status_of",
    "undo",
    "use_template",
]


class UndecidedError(ImportRefusedError):
    """Some columns wait for a decision."""


class NotAllowedError(MirageError):
    """The user may look at the cohort, but not change it."""


@dataclass(frozen=True, slots=True)
class ErrorFile:
    """A file to hand back: its name, its type, and its bytes bit by bit."""

    file_name: str
    content_type: str
    chunks: Iterator[bytes]


def start_import(
    *,
    cohort: Cohort,
    file: BinaryIO,
    name: str,
    uploaded_by: User,
    now: datetime,
    sheet: str = "",
    send: bool = True,
) -> EhrImport:
    """Take a file in and queue its analysis.

    The same file again, while an import of it is under way or stored, leads to that import.

    Args:
        cohort: where it is to go.
        file: opened for bytes, seekable.
        name: what the user calls it; shown, never trusted.
        uploaded_by: who asks; may change the cohort.
        now: when; dates that the file leaves out become this.
        sheet: which sheet of a workbook; the first shown one if empty.
        send: whether to tell a worker; a command does the work itself.

    Raises:
        FileRefusedError: the file is empty or too large, or nothing can be made of it.
        NotAllowedError: the user may not change the cohort.
    """
    _check_may_edit(cohort, uploaded_by)
    ehr_import = EhrImport(
        cohort=cohort,
        requested_by=uploaded_by,
        requested_at=now,
        file_name=receiving.shown_name(name),
        sheet=sheet[:100],
    )
    folder = ImportFolder(ehr_import.pk)
    ehr_import.sha256, ehr_import.bytes = folder.receive(file)
    try:
        opening.look_at(folder.file)
        with transaction.atomic():
            if known := receiving.same_file(ehr_import):
                folder.delete()
                return known
            ehr_import.save(force_insert=True)
            _queue(ehr_import, ImportStep.Kind.ANALYSE, uploaded_by, now, send=send)
    except IntegrityError:  # another request with the same file was a moment faster
        folder.delete()
        if known := receiving.same_file(ehr_import):
            return known
        raise
    except BaseException:
        folder.delete()
        raise
    return ehr_import


@transaction.atomic
def decide_column(
    *,
    ehr_import: EhrImport,
    key: str,
    action: Literal["accept", "ignore", "map"],
    decided_by: User,
    concept: str = "",
    unit: str = "",
) -> ColumnView:
    """Decide what becomes of one column.

    Args:
        ehr_import: the import; one that was checked goes back to its columns.
        key: which column.
        action: accept the suggestion, ignore the column, or map it to `concept`.
        decided_by: who decides.
        concept: identifier of the dictionary's concept, or of a code ("icd10cm:I10").
        unit: UCUM unit of the column's values; empty for the concept's own.

    Raises:
        ImportRefusedError: there is no such column or concept, or the concept is taken or does not
            accept the unit.
    """
    held = _held_for_mapping(ehr_import, decided_by)
    columns = list(from_json(held.columns))
    place = next((i for i, column in enumerate(columns) if column.key == key), None)
    if place is None:
        raise ImportRefusedError("There is no such column in this file. Load the page again.")
    if columns[place].role is Role.PATIENT:
        raise ImportRefusedError("The column that says who a row is about cannot be changed.")
    before = columns[place]
    columns[place] = decide(columns, place, action, concept, unit)
    links.remember(held.cohort, before, columns[place], user=decided_by, now=timezone.now())
    _save_columns(held, columns)
    ehr_import.refresh_from_db()
    return column_view(columns[place], ImportFolder(held.pk).examples().get(key, ()))


@transaction.atomic
def use_template(
    *, ehr_import: EhrImport, template: MappingTemplate | None, decided_by: User
) -> None:
    """Apply another saved mapping; with None, forget the decisions that came from one.

    Raises:
        ImportRefusedError: the import is past its columns, or the template is another cohort's.
    """
    held = _held_for_mapping(ehr_import, decided_by)
    columns = from_json(held.columns)
    if template is None:
        columns = tuple(
            c.decided(needs_decision=c.role is Role.FINDING, hint="To be decided again.")
            if c.decided_by is By.TEMPLATE
            else c
            for c in columns
        )
    elif template.cohort_id != held.cohort_id:
        raise ImportRefusedError("This saved mapping belongs to another cohort.")
    else:
        columns = templates.applied(template, columns)
    held.template = template
    held.save(update_fields=["template"])
    _save_columns(held, list(columns))
    ehr_import.refresh_from_db()


def saved_templates(*, cohort: Cohort) -> tuple[TemplateView, ...]:
    """The saved mappings of a cohort, the newest version of each first."""
    return tuple(map(template_view, cohort.mapping_templates.all()))


@transaction.atomic
def check(
    *,
    ehr_import: EhrImport,
    requested_by: User,
    now: datetime,
    save_as: str = "",
    send: bool = True,
) -> ImportStep:
    """Queue the check of every row by the decided columns, and save those as a template if named.

    Raises:
        UndecidedError: columns wait for a decision.
        ImportRefusedError: no column would be stored, or the import is elsewhere.
    """
    _check_may_edit(ehr_import.cohort, requested_by)
    columns = from_json(ehr_import.columns)
    undecided = [column.header for column in columns if column.needs_decision]
    if undecided:
        one = len(undecided) == 1
        raise UndecidedError(
            f"{len(undecided)} column{' is' if one else 's are'} still to decide: "
            f"{', '.join(undecided[:5])}{' ...' if len(undecided) > 5 else ''}."
        )
    if not any(c.role in {Role.FINDING, Role.BIRTH} for c in columns):
        raise ImportRefusedError("Every column is ignored. Match at least one to a concept.")
    _move(ehr_import, Stage.MAPPING, Stage.CHECKING)
    if save_as.strip():
        ehr_import.template = templates.save(
            cohort=ehr_import.cohort,
            name=save_as.strip()[:100],
            columns=columns,
            saved_by=requested_by,
            now=now,
        )
        ehr_import.save(update_fields=["template"])
    return _queue(ehr_import, ImportStep.Kind.CHECK, requested_by, now, send=send)


def file_with_errors(*, ehr_import: EhrImport) -> ErrorFile:
    """The file as it was uploaded, with a column that says what is wrong with each row.

    Raises:
        ImportRefusedError: it was not checked yet, or the file is no longer kept.
    """
    folder = ImportFolder(ehr_import.pk)
    if not folder.problems.exists() or not folder.file.exists():
        raise ImportRefusedError("The file is not kept any more, or its rows were not checked yet.")
    facts = facts_from_json(ehr_import.facts)
    stem = PurePath(ehr_import.file_name).stem or "file"
    suffix, kind = ".csv", "text/csv; charset=utf-8"
    if facts.shape is Shape.CODED:
        suffix, kind = ".json", "application/fhir+json"
    elif facts.format is Format.WORKBOOK:
        suffix = ".xlsx"
        kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    return ErrorFile(
        f"{stem}-errors{suffix}", kind, error_file.chunks(folder.file, folder.problems, facts)
    )


@transaction.atomic
def commit(
    *,
    ehr_import: EhrImport,
    requested_by: User,
    now: datetime,
    leave_out_refused: bool = False,
    send: bool = True,
) -> ImportStep:
    """Queue the storing of all rows that are in order; all of them, or none.

    Raises:
        ImportRefusedError: rows are refused and not to be left out, or none is in order.
    """
    _check_may_edit(ehr_import.cohort, requested_by)
    if ehr_import.rows_refused and not leave_out_refused:
        raise ImportRefusedError(
            f"{ehr_import.rows_refused:,} of {ehr_import.rows:,} rows have errors. Correct them "
            "and upload the file again, or leave these rows out."
        )
    if ehr_import.stage == Stage.CHECKED and ehr_import.rows_refused >= ehr_import.rows:
        raise ImportRefusedError("No row is in order, so nothing can be stored.")
    _move(ehr_import, Stage.CHECKED, Stage.COMMITTING, leave_out_refused=leave_out_refused)
    return _queue(ehr_import, ImportStep.Kind.COMMIT, requested_by, now, send=send)


@transaction.atomic
def cancel(*, ehr_import: EhrImport) -> None:
    """Give an import up; its file is deleted and nothing of it stays.

    Raises:
        ImportRefusedError: it is stored already; it can be undone.
    """
    for stage in OPEN_STAGES:
        if EhrImport.objects.move(ehr_import.pk, stage, Stage.CANCELLED):
            break
    else:
        raise ImportRefusedError("This import is over. One that is stored can be undone.")
    for step in ehr_import.steps.active():
        ImportStep.objects.cancel(step.pk)
    ehr_import.refresh_from_db()
    transaction.on_commit(ImportFolder(ehr_import.pk).delete)


@transaction.atomic
def retry(*, ehr_import: EhrImport) -> None:
    """Queue the failed step of an import again.

    Raises:
        ImportRefusedError: no step has failed, or the file is gone because it was refused.
    """
    step = ehr_import.step
    if not ImportFolder(ehr_import.pk).file.exists() and ehr_import.stage in OPEN_STAGES:
        raise ImportRefusedError("The file is not kept any more. Upload it again.")
    if step is None or not ImportStep.objects.retry(step.pk):
        raise ImportRefusedError("No step of this import has failed.")
    queue.send_on_commit(step)


@transaction.atomic
def undo(
    *, ehr_import: EhrImport, requested_by: User, now: datetime, send: bool = True
) -> ImportStep:
    """Queue the removal of what an import stored.

    Raises:
        ImportRefusedError: something depends on it; the text says what.
    """
    _check_may_edit(ehr_import.cohort, requested_by)
    if ehr_import.stage == Stage.COMMITTED and (reason := undoing.why_not(ehr_import)):
        raise ImportRefusedError(reason)
    _move(ehr_import, Stage.COMMITTED, Stage.UNDOING)
    return _queue(ehr_import, ImportStep.Kind.UNDO, requested_by, now, send=send)


def _check_may_edit(cohort: Cohort, user: User) -> None:
    if not Cohort.objects.editable_by(user).filter(pk=cohort.pk).exists():
        raise NotAllowedError(
            f"You may not change the cohort {cohort.name}, or it is archived. Ask its owner to "
            "make you a clinician of it."
        )


def _queue(
    ehr_import: EhrImport, kind: ImportStep.Kind, user: User, now: datetime, *, send: bool
) -> ImportStep:
    step = ImportStep.objects.create(
        ehr_import=ehr_import,
        number=ehr_import.steps.count() + 1,
        kind_of_work=kind,
        requested_by=user,
        requested_at=now,
        total=ehr_import.rows,
    )
    if send:
        queue.send_on_commit(step)
    return step


def _move(ehr_import: EhrImport, before: Stage, after: Stage, **changes: object) -> None:
    if not EhrImport.objects.move(ehr_import.pk, before, after, **changes):
        raise ImportRefusedError(
            f"This cannot be done while the import is at: {ehr_import.get_stage_display()}."
        )
    ehr_import.refresh_from_db()


def _held_for_mapping(ehr_import: EhrImport, user: User) -> EhrImport:
    """The import's row, locked; one that was checked, or failed to be, is back at its columns."""
    _check_may_edit(ehr_import.cohort, user)
    held = EhrImport.objects.select_for_update(of=("self",)).get(pk=ehr_import.pk)
    if held.stage == Stage.CHECKED or (
        held.stage == Stage.CHECKING and not held.steps.active().exists()
    ):
        _move(held, Stage(held.stage), Stage.MAPPING)
    if held.stage != Stage.MAPPING:
        raise ImportRefusedError("The columns of this import cannot be changed now.")
    return held


def _save_columns(held: EhrImport, columns: list[ColumnPlan]) -> None:
    held.columns = to_json(columns)
    held.save(update_fields=["columns"])

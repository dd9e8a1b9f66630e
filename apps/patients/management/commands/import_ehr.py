"""manage.py import_ehr: the import wizard's path, for scripts."""

import json
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs.models import JobState
from apps.patients.importing import runner, services
from apps.patients.importing.plan import Role
from apps.patients.importing.presenting import ColumnView
from apps.patients.importing.stages import Stage
from apps.patients.models import Cohort, EhrImport
from ml.concepts import normalise_name

_PROBLEMS_SHOWN = 1_000


class Command(BaseCommand):
    help = "Import a file of health records into a cohort; exit 0 only if everything went in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="CSV, TSV, XLSX, FHIR Bundle or NDJSON")
        parser.add_argument("--cohort", required=True, help="name of the cohort")
        parser.add_argument("--user", help="username; by default the maker of the cohort")
        parser.add_argument("--sheet", default="", help="sheet of a workbook; default: the first")
        parser.add_argument(
            "--mapping",
            type=Path,
            help='JSON: {"COLUMN": "concept", "COLUMN": {"concept": "...", "unit": "..."}, '
            '"COLUMN": null to ignore}',
        )
        parser.add_argument("--dry-run", action="store_true", help="check, and store nothing")
        parser.add_argument("--json", action="store_true", help="print a report as JSON")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            report, complete = self._import(options)
        except MirageError as error:
            report, complete = _refused(str(error)), False
        if options["json"]:
            self.stdout.write(json.dumps(report, ensure_ascii=False, indent=1))
        else:
            self.stdout.write(_in_words(report))
        if not complete:
            sys.exit(1)

    def _import(self, options: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        cohort = _cohort(options["cohort"])
        user = _user(options["user"]) if options["user"] else cohort.created_by
        now = timezone.now()
        try:
            with options["file"].open("rb") as file:
                ehr_import = services.start_import(
                    cohort=cohort,
                    file=file,
                    name=options["file"].name,
                    uploaded_by=user,
                    now=now,
                    sheet=options["sheet"],
                    send=False,
                )
        except OSError as error:
            raise CommandError(f"The file cannot be read: {error.strerror}.") from error
        if ehr_import.stage == Stage.COMMITTED:
            report = _report(ehr_import) | {"message": "This file is already in the cohort."}
            return report, _is_complete(report)
        if ehr_import.requested_at != now:
            raise services.ImportRefusedError(
                "An import of this very file is under way in the cohort. Finish or cancel it there."
            )
        try:
            return self._carry_out(ehr_import, user, options)
        except BaseException:
            _give_up(ehr_import)
            raise

    def _carry_out(
        self, ehr_import: EhrImport, user: User, options: dict[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        now = timezone.now()
        _work(ehr_import)
        if options["mapping"]:
            _apply(ehr_import, _read_mapping(options["mapping"]), user)
        undecided = [
            column
            for column in services.mapping_of(ehr_import=ehr_import).columns
            if column.needs_decision
        ]
        for column in undecided:  # nobody is here to decide, so they are left out and said
            services.decide_column(
                ehr_import=ehr_import, key=column.key, action="ignore", decided_by=user
            )
        services.check(ehr_import=ehr_import, requested_by=user, now=now, send=False)
        _work(ehr_import)
        report = _report(ehr_import, undecided)
        if options["dry_run"] or report["accepted"] == 0:
            services.cancel(ehr_import=ehr_import)
            return report | {"stored": False}, _is_complete(report)
        services.commit(
            ehr_import=ehr_import,
            requested_by=user,
            now=now,
            leave_out_refused=True,
            send=False,
        )
        _work(ehr_import)
        report |= _stored(ehr_import)
        return report, _is_complete(report)


def _cohort(name: str) -> Cohort:
    found = list(Cohort.objects.filter(name=name, archived_at=None)[:2])
    if len(found) != 1:
        what = "no cohort" if not found else "more than one cohort"
        raise CommandError(f"There is {what} of this name: {name}.")
    return found[0]


def _user(name: str) -> User:
    try:
        return User.objects.get(username=name)
    except User.DoesNotExist as error:
        raise CommandError(f"There is no user of this name: {name}.") from error


def _work(ehr_import: EhrImport) -> None:
    """Carry out the queued step here, or wait for a worker that was faster."""
    step = ehr_import.step
    while step is not None and step.state in {JobState.QUEUED, JobState.RUNNING}:
        runner.carry_out_step(step_id=step.pk)
        step.refresh_from_db()
        if step.state == JobState.RUNNING:
            time.sleep(0.2)
    ehr_import.refresh_from_db()
    if step is not None and step.state != JobState.SUCCEEDED:
        raise services.ImportRefusedError(step.reason or "The import was cancelled.")


def _give_up(ehr_import: EhrImport) -> None:
    ehr_import.refresh_from_db()
    if services.status_of(ehr_import=ehr_import).can_cancel:
        services.cancel(ehr_import=ehr_import)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"The mapping {path.name} cannot be read as JSON.") from error
    if not isinstance(found, dict):
        raise CommandError("The mapping must be a JSON object: column to concept.")
    return found


def _apply(ehr_import: EhrImport, mapping: dict[str, Any], user: User) -> None:
    columns = services.mapping_of(ehr_import=ehr_import).columns
    by_name: dict[str, ColumnView] = {normalise_name(c.header): c for c in columns}
    by_name |= {normalise_name(c.key): c for c in columns}
    for name, meant in mapping.items():
        column = by_name.get(normalise_name(name))
        if column is None:
            raise services.ImportRefusedError(f"The file has no column {name[:100]}.")
        concept, unit = (
            (meant, "")
            if not isinstance(meant, dict)
            else (
                meant.get("concept"),
                meant.get("unit", ""),
            )
        )
        services.decide_column(
            ehr_import=ehr_import,
            key=column.key,
            action="map" if concept else "ignore",
            concept=concept or "",
            unit=unit,
            decided_by=user,
        )


def _report(ehr_import: EhrImport, undecided: list[ColumnView] | None = None) -> dict[str, Any]:
    open_ = {column.key: column for column in undecided or ()}
    columns = services.mapping_of(ehr_import=ehr_import).columns
    page = services.page_of_problems(ehr_import=ehr_import, per_page=_PROBLEMS_SHOWN)
    problems = [
        {
            "row": 1,
            "column": column.header,
            "code": "undecided_column",
            "message": "Nobody has decided what this column is, so it was left out. Name it in "
            "--mapping, or map it to null.",
        }
        for column in open_.values()
    ]
    problems += [
        {
            "row": problem.row,
            "column": problem.column,
            "code": problem.code,
            "message": f"{problem.message} {problem.remedy}".strip(),
            "severity": problem.severity,
        }
        for problem in page.problems
    ]
    return {
        "rows": ehr_import.rows,
        "patients": ehr_import.facts.get("patients", 0),
        "accepted": ehr_import.rows - ehr_import.rows_refused,
        "refused": ehr_import.rows_refused,
        "columns": [_column(column, open_) for column in columns],
        "problems": problems,
        "problem_counts": {count.code: count.count for count in page.counts},
        "dropped": ehr_import.dropped,
        "undecided": len(open_),
    }


def _column(column: ColumnView, undecided: dict[str, ColumnView]) -> dict[str, Any]:
    shown = undecided.get(column.key, column)
    used = column.role is Role.FINDING
    return {
        "name": column.header,
        "concept": (column.concept or None) if used else None,
        "role": column.role.value,
        "score": shown.score,
        "decided_by": "" if column.key in undecided else column.decided_by.value,
        "label_proximal": column.label_proximal,
        "for_prediction": column.for_prediction,
    }


def _stored(ehr_import: EhrImport) -> dict[str, Any]:
    return {
        "stored": True,
        "patients_new": ehr_import.patients_new,
        "patients_updated": ehr_import.patients_updated,
        "findings": ehr_import.findings,
        "notes": ehr_import.notes,
    }


def _is_complete(report: dict[str, Any]) -> bool:
    return bool(report["accepted"]) and not report["refused"] and not report["undecided"]


def _refused(reason: str) -> dict[str, Any]:
    problem = {"row": None, "column": None, "code": "refused", "message": reason}
    nothing = {"rows": 0, "patients": 0, "accepted": 0, "refused": 0, "undecided": 0}
    return nothing | {"columns": [], "problems": [problem], "stored": False}


def _in_words(report: dict[str, Any]) -> str:
    lines = [
        f"{report['rows']:,} rows: {report['accepted']:,} accepted, {report['refused']:,} refused; "
        f"{report['patients']:,} patients."
    ]
    lines += [f"{p['row'] or ''} {p['column'] or ''}: {p['message']}" for p in report["problems"]]
    return "\n".join(lines)

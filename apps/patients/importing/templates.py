"""Decisions about columns, kept per cohort, offered when a file of the same shape comes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from apps.accounts.models import User
from apps.patients.importing.plan import By, ColumnPlan, Role, from_json, to_json
from apps.patients.models import Cohort, MappingTemplate

_LEAST_SHARE = 0.6
_LOOKED_AT = 100


def best_for(cohort: Cohort, columns: Sequence[ColumnPlan]) -> MappingTemplate | None:
    """The template that decided most of these columns before; none if it decided too few."""
    keys = {column.key for column in columns}
    newest: dict[str, MappingTemplate] = {}
    for template in cohort.mapping_templates.order_by("-version")[:_LOOKED_AT]:
        newest.setdefault(template.name, template)
    scored = [(fits(template, keys), template.version, template) for template in newest.values()]
    if not scored:
        return None
    fit, _, template = max(scored, key=lambda entry: entry[:2])
    return template if fit >= _LEAST_SHARE * len(keys) else None


def fits(template: MappingTemplate, keys: set[str]) -> int:
    """How many of these columns a template decides."""
    return len(keys & {column["key"] for column in template.columns})


def applied(template: MappingTemplate, columns: Sequence[ColumnPlan]) -> tuple[ColumnPlan, ...]:
    """The columns as the template has them; those that it does not know stay as they are.

    How dates are written is each file's own and never taken from a template.
    """
    known = {column.key: column for column in from_json(template.columns)}
    return _settled(
        replace(
            known[column.key],
            header=column.header,
            month_first=column.month_first,
            decided_by=By.TEMPLATE,
            needs_decision=False,
        )
        if column.key in known and column.role is not Role.PATIENT
        else column
        for column in columns
    )


def _settled(columns: Iterable[ColumnPlan]) -> tuple[ColumnPlan, ...]:
    """The columns, where one that wants what the template gave to another waits for a person."""
    columns = tuple(columns)
    findings = [c for c in columns if c.role is Role.FINDING and c.decided_by is By.TEMPLATE]
    given = {column.concept: column.header for column in findings}
    return tuple(
        column.decided(
            needs_decision=True,
            hint=f"The saved mapping gives this to {given[column.concept]}. Keep one.",
        )
        if column.role is Role.FINDING
        and column.decided_by is not By.TEMPLATE
        and column.concept in given
        and not column.own
        else column
        for column in columns
    )


@transaction.atomic
def save(
    *, cohort: Cohort, name: str, columns: Sequence[ColumnPlan], saved_by: User, now: datetime
) -> MappingTemplate:
    """Keep decided columns as the next version of a template."""
    Cohort.objects.select_for_update().get(pk=cohort.pk)
    last = cohort.mapping_templates.filter(name=name).aggregate(last=Max("version"))["last"] or 0
    return MappingTemplate.objects.create(
        cohort=cohort,
        name=name,
        version=last + 1,
        columns=to_json(column for column in columns if not column.needs_decision),
        saved_by=saved_by,
        saved_at=now,
    )

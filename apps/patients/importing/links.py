"""SNOMED CT codes that the dictionary does not list: what a person has confirmed that they mean.

Such a code is always stored as a concept of its own. What its name seems to say is only suggested
(text_matching); once a person has confirmed it, files of the same cohort are read so.
"""

from collections.abc import Sequence
from datetime import datetime

from apps.accounts.models import User
from apps.patients.importing.codes import System
from apps.patients.importing.plan import By, ColumnPlan, Role, kept_code
from apps.patients.models import Cohort, ConfirmedLink
from ml.concepts import dictionary


def is_open(column: ColumnPlan) -> bool:
    """Whether a column is a SNOMED CT code that means nothing to the dictionary."""
    return column.is_only_a_code and column.concept.startswith(f"{System.SNOMED}:")


def applied(cohort: Cohort, columns: Sequence[ColumnPlan]) -> tuple[ColumnPlan, ...]:
    """The columns, with the codes that were confirmed in this cohort as what they mean."""
    codes = [column.concept for column in columns if is_open(column)]
    found = ConfirmedLink.objects.filter(cohort=cohort, code__in=codes)
    links = dict(found.values_list("code", "concept"))
    return tuple(
        column.decided(
            concept=links[column.concept],
            own=kept_code(column.concept, links[column.concept]),
            decided_by=By.LINK,
            score=1.0,
        )
        if is_open(column) and links.get(column.concept) in dictionary()
        else column
        for column in columns
    )


def remember(
    cohort: Cohort, before: ColumnPlan, after: ColumnPlan, *, user: User, now: datetime
) -> None:
    """Keep what a person decided on a code: a link to a concept, or that there is none."""
    code = before.own or before.concept
    if not code.startswith(f"{System.SNOMED}:"):
        return
    if after.role is Role.FINDING and after.concept in dictionary():
        ConfirmedLink.objects.update_or_create(
            cohort=cohort,
            code=code,
            defaults={"concept": after.concept, "confirmed_by": user, "confirmed_at": now},
        )
    elif after.role is Role.FINDING:
        ConfirmedLink.objects.filter(cohort=cohort, code=code).delete()

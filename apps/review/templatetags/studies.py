"""The tabs of a study, on each of the manager's pages, and who may have which entry on top."""

from typing import Any

from django import template
from django.urls import reverse

from apps.accounts.models import User
from apps.review.models import ReaderStudy, StudyState
from apps.review.services.setup import may_manage

register = template.Library()
HASH_DIGITS = 64  # of SHA-256


@register.inclusion_tag("review/partials/study_head.html")
def study_head(study: ReaderStudy, current: str, title: str = "") -> dict[str, Any]:
    """Breadcrumb, title, state and tabs of a page of one study.

    Args:
        study: which.
        current: the tab that the page belongs to.
        title: of the page; else the tab's, and the study's own on its overview.
    """
    tabs: list[tuple[str, str, str, int | None]] = [
        ("overview", "Overview", study.get_absolute_url(), None),
        ("protocol", "Protocol", reverse("review:protocol", args=[study.pk]), None),
        ("cases", "Cases", reverse("review:cases", args=[study.pk]), study.cases.count()),
        ("readers", "Readers", reverse("review:readers", args=[study.pk]), study.readers.count()),
    ]
    if study.state in (StudyState.OPEN, StudyState.LOCKED, StudyState.UNBLINDED):
        statistics = reverse("review:statistics", args=[study.pk])
        tabs.append(("statistics", "Statistics", statistics, None))
    tabs.append(("log", "Log", reverse("review:log", args=[study.pk]), None))
    own = "" if current == "overview" else next(t for name, t, *_ in tabs if name == current)
    return {"study": study, "tabs": tabs, "current": current, "here": title or own}


@register.filter
def manages_studies(user: User) -> bool:
    """Whether the entry of reader studies stands on top of the page."""
    return may_manage(user)


@register.filter
def reads_studies(user: User) -> bool:
    """Whether the entry of the worklist does; only radiologists can be invited."""
    return user.role == User.Role.RADIOLOGIST


@register.filter
def spaced(name: str) -> str:
    """protocol_sha256 as protocol sha256."""
    return name.replace("_", " ")


@register.filter
def shortened(value: object) -> str:
    """The first digits of a hash, which tell two apart; anything else as it is."""
    text = str(value)
    is_hash = len(text) == HASH_DIGITS and set(text) <= set("0123456789abcdef")
    return f"{text[:16]}…" if is_hash else text

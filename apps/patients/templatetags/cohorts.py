"""The tabs of a cohort, on each of its pages."""

from typing import Any

from django import template
from django.urls import reverse

from apps.patients.models import Cohort

register = template.Library()


@register.inclusion_tag("patients/partials/cohort_tabs.html", takes_context=True)
def cohort_tabs(context: template.Context, cohort: Cohort, current: str) -> dict[str, Any]:
    """Links to the pages of a cohort that this user may open, and how much is behind them."""
    user = context["request"].user
    owns = Cohort.objects.owned_by(user).filter(pk=cohort.pk).exists()
    edits = Cohort.objects.editable_by(user).filter(pk=cohort.pk).exists()
    tabs: list[tuple[str, str, str, int | None]] = [
        ("patients", "Patients", cohort.get_absolute_url(), None),
        ("inputs", "Inputs", reverse("patients:inputs", args=[cohort.pk]), None),
        ("performance", "Performance", reverse("inference:performance", args=[cohort.pk]), None),
    ]
    if edits:
        imports = reverse("patients:start-import", args=[cohort.pk])
        tabs.append(("imports", "Imports", imports, cohort.imports.count()))
    members = reverse("patients:members", args=[cohort.pk])
    tabs.append(("members", "Members", members, cohort.memberships.count()))
    if owns:
        settings = reverse("patients:cohort-settings", args=[cohort.pk])
        tabs.append(("settings", "Settings", settings, None))
    return {"tabs": tabs, "current": current}

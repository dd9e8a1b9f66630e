"""What is given and missing in a cohort, and how its values are distributed."""

from uuid import UUID

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.patients import profiling
from apps.patients.models import Cohort
from apps.patients.profiling import Distribution, Group

FIRST_GROUP = "demographics-and-genetics"


@require_safe
def inputs(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Missing shares of all groups; of the chosen one each concept, with its values as a table."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    sample = profiling.sample_of(cohort)
    groups = profiling.missingness(cohort, sample)
    group = _chosen(groups, request.GET.get("group", ""))
    concepts = profiling.concepts_of(group.slug)
    of_group = {d.concept.id: d for d in profiling.distributions(cohort, sample, concepts)}
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "may_edit": Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists(),
        "sample": sample,
        "groups": groups,
        "group": group,
        "concepts": [(given, of_group.get(given.id)) for given in group.concepts],
        "distributions": list(of_group.values()),
    }
    return render(request, "patients/inputs.html", context)


@require_safe
def distributions(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """The bars of one group's plots, as JSON."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    concepts = profiling.concepts_of(request.GET.get("group", FIRST_GROUP))
    if not concepts:
        raise Http404
    found = profiling.distributions(cohort, profiling.sample_of(cohort), concepts)
    response = JsonResponse({"distributions": [_as_json(d) for d in found]})
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _chosen(groups: list[Group], slug: str) -> Group:
    """The group of this name; the first without one."""
    if not slug:
        return groups[0]
    found = next((group for group in groups if group.slug == slug), None)
    if found is None:
        raise Http404
    return found


def _as_json(distribution: Distribution) -> dict[str, object]:
    return {
        "id": distribution.concept.id,
        "label": distribution.concept.label,
        "unit": distribution.concept.unit,
        "levels": distribution.levels,
        "n": distribution.n,
        "bars": [
            {"label": bar.label, "low": bar.low, "high": bar.high, "n": bar.n}
            for bar in distribution.bars
        ],
    }

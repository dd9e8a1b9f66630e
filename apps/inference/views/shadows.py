"""What the challenger says beside the champion, for administrators, over many patients at once."""

from dataclasses import asdict

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.inference import comparing
from apps.inference.performance import CLASS_NEEDS, GROUP_NEEDS
from apps.registry.models import Bundle
from apps.registry.promoting import may_administer
from apps.registry.selectors import shadowed_by


@require_safe
def shadow(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """Agreement, differences, answers that would change, and AUC where a diagnosis is recorded."""
    bundle = _bundle(request, bundle_id)
    champion = comparing.shadowed_champion(bundle)
    pairs = comparing.pairs_of(bundle, champion) if champion else []
    context = {
        "section": "models",
        "bundle": bundle,
        "champion": champion,
        "is_on": shadowed_by() == bundle,
        "agreement": comparing.agreement(pairs) if pairs else None,
        "runs": comparing.runs_answered(bundle),
        "waiting": comparing.waiting(bundle),
        "failed": comparing.failed(bundle),
        "group_needs": GROUP_NEEDS,
        "class_needs": CLASS_NEEDS,
    }
    return render(request, "inference/shadow.html", context)


@require_safe
def figures(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """What the plots of that page draw: counts of at least five, and means over as many."""
    bundle = _bundle(request, bundle_id)
    champion = comparing.shadowed_champion(bundle)
    found = comparing.agreement(comparing.pairs_of(bundle, champion)) if champion else None
    if found is None:
        return JsonResponse({"cells": [], "bands": [], "mean": None, "limits": None})
    return JsonResponse(
        {
            "cells": found.cells,
            "bands": found.bands,
            "mean": asdict(found.mean_difference) if found.mean_difference else None,
            "limits": found.limits,
            "champion": champion.version if champion else "",
            "challenger": bundle.version,
        }
    )


def _bundle(request: SignedInRequest, bundle_id: int) -> Bundle:
    if not may_administer(request.user):
        raise PermissionDenied
    return get_object_or_404(Bundle, pk=bundle_id)

"""Evaluations: asked for, watched, read by everybody, downloaded."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.jobs.selectors import unserved_queues
from apps.registry.archives import file_name
from apps.registry.evaluations import reports, services
from apps.registry.evaluations.presenting import figures_of, parts_of
from apps.registry.forms_models import EvaluationForm
from apps.registry.models import Bundle, Evaluation
from apps.registry.promoting import may_administer
from apps.registry.views.models import check_admin


@require_POST
def request_evaluation(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """Evaluate a version on people set aside."""
    check_admin(request)
    bundle = get_object_or_404(Bundle, pk=bundle_id)
    form = EvaluationForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a holdout that is frozen and not retired.")
        return redirect("registry:version", bundle.pk)
    try:
        asked = services.request_evaluation(
            bundle=bundle,
            **form.cleaned_data,
            requested_by=request.user,
            now=timezone.now(),
        )
    except MirageError as error:
        messages.error(request, str(error))
        return redirect("registry:version", bundle.pk)
    return redirect("registry:evaluation", asked.pk)


@require_safe
def evaluation(request: SignedInRequest, evaluation_id: UUID) -> HttpResponse:
    """An evaluation under way, or what it found. The page reloads itself when it has ended."""
    found = _found(evaluation_id)
    if "HX-Request" in request.headers and found.is_final:
        return HttpResponseClientRefresh()
    context = {
        "section": "models",
        "evaluation": found,
        "view": found.view,
        "parts": parts_of(found.view),
        "figures": figures_of(found.view),
        "unserved": not found.is_final and "training" in unserved_queues(),
        "is_admin": may_administer(request.user),
    }
    return render(request, "registry/evaluation.html", context)


@require_POST
def cancel_evaluation(request: SignedInRequest, evaluation_id: UUID) -> HttpResponse:
    """Stop an evaluation."""
    return _do(request, services.cancel_evaluation, evaluation_id)


@require_POST
def retry_evaluation(request: SignedInRequest, evaluation_id: UUID) -> HttpResponse:
    """Evaluate again what failed or was cancelled."""
    return _do(request, services.retry_evaluation, evaluation_id)


@require_safe
def report(request: SignedInRequest, evaluation_id: UUID) -> HttpResponse:
    """The report as a zip: a page that needs no network, its script, every number as JSON."""
    return _file(request, evaluation_id, reports.bytes_of, "zip")


@require_safe
def report_figures(request: SignedInRequest, evaluation_id: UUID) -> HttpResponse:
    """Every number of the report, as JSON."""
    return _file(request, evaluation_id, reports.figures_in, "json")


def _file(
    request: SignedInRequest,
    evaluation_id: UUID,
    content_of: Callable[[Evaluation], bytes],
    ending: str,
) -> HttpResponse:
    """A file to keep. The name of a holdout may be anything, so the file is not called by it."""
    check_admin(request)
    found = _found(evaluation_id)
    try:
        content = content_of(found)
    except MirageError as error:
        messages.error(request, str(error))
        return redirect("registry:evaluation", found.pk)
    name = f"evaluation-{file_name(found.bundle).removesuffix('zip')}{ending}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return HttpResponse(content, content_type=f"application/{ending}", headers=headers)


def _found(evaluation_id: UUID) -> Evaluation:
    rows = Evaluation.objects.select_related("bundle", "holdout", "requested_by")
    return get_object_or_404(rows, pk=evaluation_id)


def _do(request: SignedInRequest, act: Callable[..., Any], evaluation_id: UUID) -> HttpResponse:
    check_admin(request)
    found = _found(evaluation_id)
    try:
        act(evaluation=found)
    except MirageError as error:
        messages.error(request, str(error))
    return redirect("registry:evaluation", found.pk)

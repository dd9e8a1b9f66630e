"""Holdouts and gate checks: asked for, watched, cancelled, retired."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.jobs.selectors import unserved_queues
from apps.registry.forms_models import GateCheckForm, HoldoutForm
from apps.registry.gates import services
from apps.registry.models import Bundle, GateCheck, Holdout
from apps.registry.selectors import champion
from apps.registry.versions import Verdicts, gates_in
from apps.registry.views.models import UNPROCESSABLE, check_admin


@require_http_methods(["GET", "HEAD", "POST"])
def holdouts(request: SignedInRequest) -> HttpResponse:
    """All holdouts, and a form for another one."""
    check_admin(request)
    form = HoldoutForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            services.freeze_holdout(
                **form.cleaned_data, requested_by=request.user, now=timezone.now()
            )
        except MirageError as error:
            form.add_error(None, str(error))
        else:
            return redirect("registry:holdouts")
    found = Holdout.objects.prefetch_related("cohorts", "gate_checks", "evaluations")
    context = {
        "section": "models",
        "form": form,
        "holdouts": found,
        "is_busy": any(not each.is_final for each in found),
        "unserved": "training" in unserved_queues(),
    }
    status = UNPROCESSABLE if form.errors else 200
    return render(request, "registry/holdouts.html", context, status=status)


@require_POST
def retire_holdout(request: SignedInRequest, holdout_id: UUID) -> HttpResponse:
    """Let a holdout judge nobody from now on."""
    check_admin(request)
    holdout = get_object_or_404(Holdout, pk=holdout_id)
    try:
        services.retire_holdout(holdout=holdout, now=timezone.now())
    except MirageError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{holdout.name} is retired. Its people may train from now on.")
    return redirect("registry:holdouts")


@require_POST
def cancel_holdout(request: SignedInRequest, holdout_id: UUID) -> HttpResponse:
    """Stop a freeze."""
    return _do(request, services.cancel, get_object_or_404(Holdout, pk=holdout_id))


@require_POST
def retry_holdout(request: SignedInRequest, holdout_id: UUID) -> HttpResponse:
    """Freeze again what failed or was cancelled."""
    return _do(request, services.retry, get_object_or_404(Holdout, pk=holdout_id))


@require_POST
def request_gate_check(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """Judge a version beside the champion."""
    check_admin(request)
    bundle = get_object_or_404(Bundle, pk=bundle_id)
    form = GateCheckForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose a holdout that is frozen and not retired.")
        return redirect("registry:version", bundle.pk)
    try:
        check = services.request_gate_check(
            candidate=bundle,
            holdout=form.cleaned_data["holdout"],
            requested_by=request.user,
            now=timezone.now(),
        )
    except MirageError as error:
        messages.error(request, str(error))
        return redirect("registry:version", bundle.pk)
    return redirect("registry:gate-check", check.pk)


@require_safe
def gate_check(request: SignedInRequest, check_id: UUID) -> HttpResponse:
    """A check under way, or its gates one by one."""
    check_admin(request)
    check = get_object_or_404(
        GateCheck.objects.select_related("candidate", "champion", "holdout"), pk=check_id
    )
    gates = gates_in(check.gates)
    context = {
        "section": "models",
        "check": check,
        "gates": gates,
        "verdicts": Verdicts.of(gates),
        "report": check.report,
        "is_current": check.champion == champion() and check.candidate != check.champion,
        "unserved": "training" in unserved_queues(),
    }
    return render(request, "registry/gate_check.html", context)


@require_POST
def cancel_gate_check(request: SignedInRequest, check_id: UUID) -> HttpResponse:
    """Stop a check."""
    return _do(request, services.cancel, get_object_or_404(GateCheck, pk=check_id))


@require_POST
def retry_gate_check(request: SignedInRequest, check_id: UUID) -> HttpResponse:
    """Check again what failed or was cancelled."""
    return _do(request, services.retry, get_object_or_404(GateCheck, pk=check_id))


def _do(request: SignedInRequest, act: Any, job: Holdout | GateCheck) -> HttpResponse:
    check_admin(request)
    try:
        act(job=job)
    except MirageError as error:
        messages.error(request, str(error))
    if isinstance(job, GateCheck):
        return redirect("registry:gate-check", job.pk)
    return redirect("registry:holdouts")

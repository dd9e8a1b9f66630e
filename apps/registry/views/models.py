"""The list of versions, the page of one, and two side by side."""

import tempfile
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import FileResponse, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.registry import archives, services
from apps.registry.evaluations.presenting import latest_of, pairs_of
from apps.registry.forms_models import EvaluationForm, GateCheckForm, ImportForm, NoteForm
from apps.registry.gates.holdouts import frozen_holdouts
from apps.registry.models import CHAMPION, Bundle, Deployment
from apps.registry.promoting import may_administer
from apps.registry.selectors import champion, champion_state, problem_of, shadowed_by
from apps.registry.versions import compare as compare_versions
from apps.registry.versions import curves, gates_in, versions_of

VERSIONS_PER_PAGE = 25
DEPLOYMENTS_SHOWN = 8
RUNS_SHOWN = 10
UNPROCESSABLE = 422


def check_admin(request: SignedInRequest) -> None:
    """Answer 403 to everybody but administrators."""
    if not may_administer(request.user):
        raise PermissionDenied


@require_safe
def models(request: SignedInRequest) -> HttpResponse:
    """All versions, which of them answers, their figures over time, and who put which in use."""
    state = champion_state()
    page = Paginator(Bundle.objects.all(), VERSIONS_PER_PAGE).get_page(request.GET.get("page"))
    shown = Bundle.objects.filter(pk__in=[bundle.pk for bundle in page.object_list])
    context = {
        "section": "models",
        "champion": state.bundle,
        "problem": state.problem if state.bundle else "",
        "challenger": shadowed_by(),
        "versions": versions_of(shown),
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
        "curves": curves(),
        "holdouts": frozen_holdouts(),
        "deployments": _deployments()[:DEPLOYMENTS_SHOWN],
        "is_admin": may_administer(request.user),
    }
    return render(request, "registry/models.html", context)


@require_safe
def figures(request: SignedInRequest) -> HttpResponse:
    """What the plot across versions draws; the table beneath it has the same numbers."""
    return JsonResponse(curves())


@require_safe
def deployments(request: SignedInRequest) -> HttpResponse:
    """Every act that ever gave an alias to a version, newest first."""
    page = Paginator(_deployments(), VERSIONS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "section": "models",
        "deployments": page.object_list,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
        "champion": champion(),
        "is_admin": may_administer(request.user),
    }
    return render(request, "registry/deployments.html", context)


@require_safe
def version(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """The card in full, where a version comes from and what it made."""
    bundle = get_object_or_404(Bundle.objects.select_related("training_run"), pk=bundle_id)
    return _version(request, bundle, NoteForm())


@require_POST
def add_note(request: SignedInRequest, bundle_id: int) -> HttpResponse:
    """Write a note on a version."""
    check_admin(request)
    bundle = get_object_or_404(Bundle, pk=bundle_id)
    form = NoteForm(request.POST)
    if not form.is_valid():
        return _version(request, bundle, form, status=UNPROCESSABLE)
    services.add_note(
        bundle=bundle, author=request.user, text=form.cleaned_data["text"], now=timezone.now()
    )
    return redirect("registry:version", bundle.pk)


@require_safe
def compare(request: SignedInRequest) -> HttpResponse:
    """Two versions side by side: `?v=1&v=2`, the older one first."""
    wanted = [int(each) for each in request.GET.getlist("v") if each.isdecimal()][:10]
    chosen = sorted(
        Bundle.objects.filter(pk__in=[each for each in wanted if each < 2**31]),
        key=lambda bundle: (bundle.card.get("created_at", ""), bundle.pk),
    )
    context: dict[str, Any] = {"section": "models", "chosen": len(chosen)}
    if len(chosen) == 2:
        context["comparison"] = compare_versions(*chosen)
        context["evaluations"] = pairs_of(*chosen)
    context["versions"] = Bundle.objects.all()[:VERSIONS_PER_PAGE]
    return render(request, "registry/compare.html", context)


@require_safe
def download(request: SignedInRequest, bundle_id: int) -> HttpResponseBase:
    """A version as one file, for another installation."""
    check_admin(request)
    bundle = get_object_or_404(Bundle, pk=bundle_id)
    out = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    try:
        archives.export(bundle, out)
    except MirageError as error:
        out.close()
        messages.error(request, str(error))
        return redirect("registry:version", bundle.pk)
    out.seek(0)
    response = FileResponse(
        out,
        as_attachment=True,
        filename=archives.file_name(bundle),
        content_type="application/zip",
    )
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def import_bundle(request: SignedInRequest) -> HttpResponse:
    """Take in a version as one file. Nobody answers with it before it is promoted."""
    check_admin(request)
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            bundle, is_new = archives.take_in(form.cleaned_data["file"].file, now=timezone.now())
        except MirageError as error:
            form.add_error("file", str(error))
        else:
            said = "is imported. Nothing answers with it yet" if is_new else "was here already"
            messages.success(request, f"{bundle} {said}.")
            return redirect("registry:version", bundle.pk)
    status = UNPROCESSABLE if form.errors else 200
    context = {"section": "models", "form": form}
    return render(request, "registry/import.html", context, status=status)


def _version(
    request: SignedInRequest, bundle: Bundle, form: NoteForm, status: int = 200
) -> HttpResponse:
    [row] = versions_of(Bundle.objects.filter(pk=bundle.pk))
    model = champion()
    checks = bundle.gate_checks.select_related("holdout", "champion")
    newest = checks.filter(state="succeeded").first()
    runs: Any = bundle.runs  # of an app above this one
    context = {
        "section": "models",
        "bundle": bundle,
        "card": bundle.card,
        "row": row,
        "problem": problem_of(bundle),
        "champion": model,
        "training_run": getattr(bundle, "training_run", None),
        "was_champion": bundle.deployments.filter(alias=CHAMPION).exists(),
        "checks": checks[:RUNS_SHOWN],
        "check": newest,
        "gates": gates_in(newest.gates) if newest else (),
        "gate_form": GateCheckForm(),
        "evaluations": latest_of(bundle, RUNS_SHOWN),
        "evaluation_form": EvaluationForm(),
        "has_holdouts": bool(frozen_holdouts()),
        "runs_in_all": runs.count(),
        "runs": runs.visible_to(request.user).select_related("cohort", "patient")[:RUNS_SHOWN],
        "notes": bundle.notes.select_related("author"),
        "note_form": form,
        "deployments": _deployments().filter(bundle=bundle),
        "is_admin": may_administer(request.user),
    }
    return render(request, "registry/version.html", context, status=status)


def _deployments() -> Any:
    return Deployment.objects.select_related("bundle", "deployed_by", "gate_check__holdout")

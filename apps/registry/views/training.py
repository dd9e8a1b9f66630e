"""Trainings: the list, the form, the page that watches one. For admins."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from apps.accounts.models import User
from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients.models import Cohort
from apps.registry.models import TrainingRun
from apps.registry.training import curves, presenting, services
from apps.registry.training.folder import RunFolder
from apps.registry.training.form import COHORTS, TrainingForm
from apps.registry.training.outlook import outlook_of
from apps.registry.training.people import counts_of
from ml.concepts import dictionary, label_proximal_inputs

RUNS_PER_PAGE = 25


def _check_admin(request: SignedInRequest) -> None:
    if request.user.role != User.Role.ADMIN:
        raise PermissionDenied


def _run(request: SignedInRequest, run_id: UUID) -> TrainingRun:
    """A run that the user may see: for everybody but admins there is none."""
    runs = TrainingRun.objects.visible_to(request.user)
    return get_object_or_404(runs.select_related("bundle", "requested_by"), pk=run_id)


@require_safe
def trainings(request: SignedInRequest) -> HttpResponse:
    """All trainings, newest first."""
    _check_admin(request)
    runs = TrainingRun.objects.select_related("bundle", "requested_by")
    page = Paginator(runs.prefetch_related("cohorts"), RUNS_PER_PAGE).get_page(
        request.GET.get("page")
    )
    return render(
        request,
        "registry/trainings.html",
        {
            "section": "training",
            "page": page,
            "page_numbers": page.paginator.get_elided_page_range(page.number),
            "is_busy": any(not run.is_final for run in page.object_list),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
def request_training(request: SignedInRequest) -> HttpResponse:
    """The form, filled with the choices of another run where `like` names one."""
    _check_admin(request)
    if request.method != "POST":
        like = None
        if wanted := request.GET.get("like"):
            like = TrainingRun.objects.visible_to(request.user).filter(number=_number(wanted))
        form = TrainingForm(like=like.first() if like is not None else None)
        return _form_page(request, form)
    form = TrainingForm(request.POST)
    if form.is_valid():
        try:
            run = services.request_training(
                **form.chosen(),
                note=form.cleaned_data["note"],
                requested_by=request.user,
                now=timezone.now(),
            )
        except MirageError as error:
            form.add_error(None, str(error))
        else:
            return redirect(run)
    return _form_page(request, form, status=422)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _form_page(request: SignedInRequest, form: TrainingForm, status: int = 200) -> HttpResponse:
    cohorts = Cohort.objects.filter(archived_at=None)
    counts = counts_of(cohorts)
    chosen = {str(getattr(key, "pk", key)) for key in form["cohorts"].value() or []}
    return render(
        request,
        "registry/request_training.html",
        {
            "section": "training",
            "form": form,
            "people": form["people"].value() or COHORTS,
            "cohorts": [(each, counts[each.pk], str(each.pk) in chosen) for each in cohorts],
            "left_out": [dictionary()[name].label for name in label_proximal_inputs()],
            **_outlook(form),
        },
        status=status,
    )


def _outlook(form: TrainingForm) -> dict[str, object]:
    """What can be said of the choices as they are; nothing while they are no plan."""
    bound = form if form.is_bound else TrainingForm(form_data(form))
    if not bound.is_valid():
        return {"outlook": None, "left": ""}
    outlook = outlook_of(**bound.chosen())
    return {"outlook": outlook, "left": presenting.about(outlook.seconds)}


def form_data(form: TrainingForm) -> QueryDict:
    """What a browser would send of a form that nobody has touched."""
    data = QueryDict(mutable=True)
    for field in form:
        value = field.value()
        if isinstance(value, bool):
            data.update({field.name: "on"} if value else {})
        elif isinstance(value, list | tuple):
            data.setlist(field.name, [str(each) for each in value])
        elif value is not None:
            data[field.name] = str(value)
    return data


@require_safe
def training_outlook(request: SignedInRequest) -> HttpResponse:
    """What the choices of a form in the making would mean; asked for as they change."""
    _check_admin(request)
    context = _outlook(TrainingForm(request.GET))
    return render(request, "registry/partials/training_outlook.html", context)


@require_safe
def training_run(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """One training: stages, curves, pictures, log, plan."""
    run = _run(request, run_id)
    examples, figures = curves.examples_of(run), curves.figures_of(run)
    return render(
        request,
        "registry/training_run.html",
        {
            "section": "training",
            "line": presenting.line_of(run, timezone.now()),
            "run": run,
            "cohorts": run.cohorts.all(),
            "examples": [(each, curves.rows_of(each.text)) for each in examples],
            "figures": figures,
            "has_losses": run.events.filter(kind="step").exclude(values={}).exists(),
            "swap": presenting.swap_of(run, figures),
            "log": curves.log_of(run, until=2**31 - 1),
            "plan": presenting.plan_rows(run.plan),
            "kept_bytes": RunFolder(run.pk).kept_bytes() if run.may_be_resumed else 0,
        },
    )


@require_safe
def training_line(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """The upper part of the page, for polling; a browser that comes by itself is sent there."""
    run = _run(request, run_id)
    if not request.headers.get("HX-Request"):
        return redirect(run)
    line = presenting.line_of(run, timezone.now())
    context = {"line": line, "run": run, "is_update": True}
    response = render(request, "registry/partials/training_line.html", context)
    if run.is_final:
        response["HX-Refresh"] = "true"  # the whole page speaks of how it ended
        response.status_code = HttpResponseStopPolling.status_code
    return response


@require_safe
def training_events(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """What was told after an event as JSON; with `after=0` everything, thinned."""
    run = _run(request, run_id)
    after = _number(request.GET.get("after", "0"))
    told = curves.news(run, after) if after else curves.overview(run)
    return JsonResponse({**told, "final": run.is_final, "stage": run.stage})


@require_safe
def training_example(request: SignedInRequest, run_id: UUID, seq: int) -> HttpResponse:
    """A picture that a training made; it may show people, so it is kept out of caches."""
    run = _run(request, run_id)
    event = get_object_or_404(run.events.filter(kind="example"), seq=seq)
    path = RunFolder(run.pk).example(event.file) if event.file else None
    if path is None:
        raise Http404
    return HttpResponse(path.read_bytes(), content_type="image/png")


@require_POST
def cancel_training(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """Stop it at its next step; the checkpoint is kept."""
    run = _run(request, run_id)
    try:
        services.cancel_training(run=run, cancelled_by=request.user)
    except MirageError as error:
        messages.warning(request, str(error))
    return redirect(run)


@require_POST
def resume_training(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """Let it go on from its last checkpoint."""
    run = _run(request, run_id)
    try:
        services.resume_training(run=run, resumed_by=request.user)
    except MirageError as error:
        messages.warning(request, str(error))
    return redirect(run)


@require_POST
def drop_training(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """Delete its checkpoints and its snapshot."""
    run = _run(request, run_id)
    try:
        services.drop_checkpoints(
            run=run,
            is_meant=request.POST.get("is_meant") == "yes",
            dropped_by=request.user,
            now=timezone.now(),
        )
    except MirageError as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Checkpoints and snapshot of run {run.number} are deleted.")
    return redirect(run)

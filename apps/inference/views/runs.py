"""Runs: asking for one, watching it, stopping it, trying it again, and the queue of all."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling, trigger_client_event

from apps.accounts.models import User
from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.inference import services
from apps.inference.models import Explanation, InferenceRun, PseudoMRI
from apps.jobs.models import JobQuerySet, JobState, Worker
from apps.jobs.selectors import unserved_queues
from apps.patients.models import Cohort, Patient

RUNS_PER_PAGE = 25
JOBS_SHOWN = 25


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job about one prediction as a row of the queue.

    Attributes:
        job: a decoding or an explanation.
        what: what it makes.
        anchor: where the page of the patient shows it.
        place: in its queue, from 1; None if it does not wait.
        cancel, retry: names of its addresses.
    """

    job: PseudoMRI | Explanation
    what: str
    anchor: str
    place: int | None
    cancel: str
    retry: str


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run as one line of a page."""

    run: InferenceRun
    has_worker: bool
    left: str

    @property
    def failed(self) -> bool:
        return self.run.state == JobState.FAILED


def line_of(run: InferenceRun | None) -> RunLine | None:
    """The line of a run, with the time that it still needs."""
    if run is None:
        return None
    has_worker = run.is_final or run.QUEUE not in unserved_queues()
    return RunLine(run=run, has_worker=has_worker, left=_time_left(run, timezone.now()))


def _time_left(run: InferenceRun, now: datetime) -> str:
    if run.state != JobState.RUNNING or not run.done or run.started_at is None:
        return ""
    left = (now - run.started_at) / run.done * (run.total - run.done)
    if left < timedelta(minutes=1):
        return "less than a minute left"
    return f"about {round(left / timedelta(minutes=1))} min left"


@require_safe
def run(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """The line of a run, for polling; a browser that comes by itself is sent to the run's page."""
    run = get_object_or_404(
        InferenceRun.objects.visible_to(request.user).select_related("bundle", "patient"),
        pk=run_id,
    )
    if not request.headers.get("HX-Request"):
        return redirect(_page_of(run))
    context = {"run_line": line_of(run), "may_edit": _may_edit(request, run.cohort_id)}
    response = render(request, "inference/partials/run_line.html", context)
    if run.patient_id and run.state == JobState.SUCCEEDED:
        response["HX-Refresh"] = "true"  # the whole page speaks of the new answer
    if run.is_final:
        response.status_code = HttpResponseStopPolling.status_code
    if str(run.done) != request.GET.get("seen") or run.is_final:
        trigger_client_event(response, "run-progress")
    return response


@require_POST
def request_cohort_run(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Score every patient of a cohort."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    _check_editable(request, cohort.pk)
    _request(request, cohort, None)
    return redirect("inference:cohort", cohort.pk)


@require_POST
def request_patient_run(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Score one patient."""
    patients = Patient.objects.visible_to(request.user).select_related("cohort")
    patient = get_object_or_404(patients, pk=patient_id)
    _check_editable(request, patient.cohort_id)
    _request(request, patient.cohort, patient)
    return redirect("inference:patient", patient.pk)


def _request(request: SignedInRequest, cohort: Cohort, patient: Patient | None) -> None:
    try:
        services.request_run(
            cohort=cohort, patient=patient, requested_by=request.user, now=timezone.now()
        )
    except MirageError as error:
        messages.error(request, str(error))


@require_POST
def cancel_run(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """Stop a run; what it has predicted stays."""
    run = get_object_or_404(InferenceRun.objects.visible_to(request.user), pk=run_id)
    _check_editable(request, run.cohort_id)
    try:
        services.cancel_run(run=run)
    except MirageError as error:
        messages.warning(request, str(error))
    return back(request, _page_of(run))


@require_POST
def retry_run(request: SignedInRequest, run_id: UUID) -> HttpResponse:
    """Queue a failed or cancelled run again."""
    run = get_object_or_404(InferenceRun.objects.visible_to(request.user), pk=run_id)
    _check_editable(request, run.cohort_id)
    try:
        services.retry_run(run=run)
    except MirageError as error:
        messages.warning(request, str(error))
    return back(request, _page_of(run))


@require_safe
def queue(request: SignedInRequest) -> HttpResponse:
    """Runs, decodings and explanations of the user's cohorts, and the workers that take them."""
    runs = (
        InferenceRun.objects.visible_to(request.user)
        .select_related("cohort", "patient", "bundle", "requested_by")
        .order_by("-requested_at", "pk")
    )
    page = Paginator(runs, RUNS_PER_PAGE).get_page(request.GET.get("page"))
    places = _places_of_runs()
    lines = [(line_of(run), places.get(run.pk)) for run in page.object_list]
    jobs = _jobs(request.user)
    unserved = unserved_queues()
    editable = set(Cohort.objects.editable_by(request.user).values_list("pk", flat=True))
    return render(
        request,
        "inference/queue.html",
        {
            "section": "queue",
            "lines": lines,
            "jobs": jobs,
            "editable": editable,
            "page": page,
            "page_numbers": page.paginator.get_elided_page_range(page.number),
            "is_busy": any(not run.is_final for run in page.object_list)
            or any(not each.job.is_final for each in jobs),
            "unserved": sorted(unserved),
            "workers": Worker.objects.order_by("-seen_at")[:20],
            "now": timezone.now(),
        },
    )


def _places_of_runs() -> dict[UUID, int]:
    """Place of each waiting run among all that wait, whoever asked for them."""
    return _places(InferenceRun.objects.filter(state=JobState.QUEUED))


def _places(waiting: JobQuerySet[Any]) -> dict[UUID, int]:
    keys = waiting.order_by("queued_at", "pk").values_list("pk", flat=True)
    return {key: place for place, key in enumerate(keys, start=1)}


def _jobs(user: User) -> list[QueuedJob]:
    """The newest decodings and explanations of the user's cohorts."""
    found: list[QueuedJob] = []
    kinds = (
        (PseudoMRI.objects.all(), "Pseudo-MRI", "images", "pseudo-mri"),
        (Explanation.objects.all(), "Explanation", "explanation", "explanation"),
    )
    for jobs, what, anchor, name in kinds:
        places = _places(jobs.filter(state=JobState.QUEUED))
        rows = jobs.visible_to(user).select_related("prediction__patient__cohort", "requested_by")
        found += [
            QueuedJob(
                job, what, anchor, places.get(job.pk),
                f"inference:cancel-{name}", f"inference:retry-{name}",
            )
            for job in rows.order_by("-requested_at", "pk")[:JOBS_SHOWN]
        ]  # fmt: skip
    return sorted(found, key=lambda each: each.job.requested_at, reverse=True)[:JOBS_SHOWN]


def back(request: SignedInRequest, otherwise: str) -> HttpResponse:
    """To the page that the form names, if it is one of ours."""
    wanted = request.POST.get("next", "")
    hosts = {request.get_host()}
    safe = url_has_allowed_host_and_scheme(wanted, hosts, require_https=request.is_secure())
    return redirect(wanted if safe else otherwise)


def _page_of(run: InferenceRun) -> str:
    page = run.patient or run.cohort
    return page.get_absolute_url()


def _may_edit(request: SignedInRequest, cohort_id: UUID) -> bool:
    return Cohort.objects.editable_by(request.user).filter(pk=cohort_id).exists()


def _check_editable(request: SignedInRequest, cohort_id: UUID) -> None:
    if not _may_edit(request, cohort_id):
        raise PermissionDenied

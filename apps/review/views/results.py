"""What a study shows: the statistics page, its plots, and the analysis that they come from."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.review.exporting import newest_figures
from apps.review.models import ReaderStudy, StudyAnalysis, StudyState
from apps.review.ratings_of import missing_readings
from apps.review.reporting.figures import figures_of
from apps.review.reporting.report import report_of
from apps.review.services import results
from apps.review.views.signing import FILES


@require_safe
def statistics(request: SignedInRequest, study_id: int) -> HttpResponse:
    """The report, or how far the study is from having one."""
    study = _managed(request, study_id)
    figures = newest_figures(study) if study.state == StudyState.UNBLINDED else None
    newest = study.analyses.order_by("-requested_at").first()
    signed = study.events.filter(is_signed=True).exclude(kind="exported").select_related("actor")
    context = {
        "section": "studies",
        "study": study,
        "report": report_of(study, figures) if figures else None,
        "analysis": newest,
        "analysis_waits": _waits(newest),
        "missing": missing_readings(study) if study.state == StudyState.OPEN else 0,
        "signed": signed,
        "files": [(kind.value, name) for kind, (name, _) in FILES.items()],
    }
    return render(request, "review/statistics.html", context)


@require_safe
def figures(request: SignedInRequest, study_id: int) -> HttpResponse:
    """The numbers of the plots."""
    study = _managed(request, study_id)
    analysis = newest_figures(study) if study.state == StudyState.UNBLINDED else None
    if analysis is None or analysis.content is None:
        raise Http404
    response = JsonResponse(figures_of(analysis.content, study.plan))
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def request_analysis(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Compute the statistics once more, as after an update of MIRAGE."""
    study = _managed(request, study_id)
    try:
        results.request_analysis(study=study, requested_by=request.user, now=timezone.now())
    except MirageError as error:
        messages.error(request, str(error))
    return redirect("review:statistics", study.pk)


@require_safe
def analysis(request: SignedInRequest, analysis_id: UUID) -> HttpResponse:
    """Where an analysis stands, for polling; a browser by itself is sent to the page."""
    found = _visible(request, analysis_id)
    if not request.headers.get("HX-Request"):
        return redirect("review:statistics", found.study_id)
    context = {"study": found.study, "analysis": found, "analysis_waits": _waits(found)}
    response = render(request, "review/partials/analysis.html", context)
    if found.is_final:
        response.status_code = HttpResponseStopPolling.status_code
    if found.state == JobState.SUCCEEDED:
        response["HX-Refresh"] = "true"  # the whole page speaks of it
    return response


@require_POST
def cancel_analysis(request: SignedInRequest, analysis_id: UUID) -> HttpResponse:
    """Stop an analysis."""
    found = _visible(request, analysis_id)
    try:
        results.cancel_analysis(analysis=found)
    except MirageError as error:
        messages.warning(request, str(error))
    return redirect("review:statistics", found.study_id)


@require_POST
def retry_analysis(request: SignedInRequest, analysis_id: UUID) -> HttpResponse:
    """Queue a failed or cancelled analysis again."""
    found = _visible(request, analysis_id)
    try:
        results.retry_analysis(analysis=found)
    except MirageError as error:
        messages.warning(request, str(error))
    return redirect("review:statistics", found.study_id)


def _managed(request: SignedInRequest, study_id: int) -> ReaderStudy:
    return get_object_or_404(ReaderStudy.objects.managed_by(request.user), pk=study_id)


def _visible(request: SignedInRequest, analysis_id: UUID) -> StudyAnalysis:
    studies = ReaderStudy.objects.managed_by(request.user)
    return get_object_or_404(
        StudyAnalysis.objects.filter(study__in=studies).select_related("study"), pk=analysis_id
    )


def _waits(analysis: StudyAnalysis | None) -> bool:
    """Whether it is queued and no worker is there to take it."""
    if analysis is None or analysis.is_final:
        return False
    return analysis.QUEUE in unserved_queues()

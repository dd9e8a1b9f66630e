"""Opening a study: what will be fixed, the freeze under way, and taking it back to draft."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.review.models import StudyState
from apps.review.protocol import LEAST_REPEAT_GAP, LONGEST_RUN
from apps.review.services import setup
from apps.review.views.manager import freeze_line, managed


@require_http_methods(["GET", "HEAD", "POST"])
def open_study(request: SignedInRequest, study_id: int) -> HttpResponse:
    """What opening means and what is missing for it; then the freeze."""
    study = managed(request, study_id)
    if study.state != StudyState.DRAFT:
        return redirect(study)
    problem = ""
    if request.method == "POST":
        try:
            setup.request_freeze(study=study, requested_by=request.user, now=timezone.now())
        except MirageError as error:
            problem = str(error)
        else:
            return redirect(study)
    plan = study.plan
    context = {
        "section": "studies",
        "study": study,
        "plan": plan,
        "missing": setup.reasons_against_opening(study),
        "problem": problem,
        "presentations": plan.cases_per_arm * len(plan.arms) + plan.repeats + plan.practice_cases,
        "run": LONGEST_RUN,
        "gap": LEAST_REPEAT_GAP,
        "is_short": plan.repeats
        and plan.cases_per_arm * len(plan.arms) < LEAST_REPEAT_GAP + 1 + plan.repeats,
    }
    return render(request, "review/open_study.html", context, status=422 if problem else 200)


@require_safe
def freeze(request: SignedInRequest, study_id: int) -> HttpResponse:
    """The line of the freeze, for polling; when it has ended, the page of the study."""
    study = managed(request, study_id)
    line = freeze_line(study)
    if not request.headers.get("HX-Request"):
        return redirect(study)
    if line is None or line.freeze.is_final:
        return HttpResponseClientRedirect(study.get_absolute_url())
    return render(request, "review/partials/freeze_line.html", {"study": study, "line": line})


@require_POST
def retry_freeze(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Go on with a freeze that failed."""
    study = managed(request, study_id)
    try:
        setup.retry_freeze(study=study, requested_by=request.user)
    except MirageError as error:
        messages.error(request, str(error))
    return redirect(study)


@require_POST
def return_to_draft(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Undo a freeze that has not succeeded."""
    study = managed(request, study_id)
    try:
        setup.return_to_draft(study=study, returned_by=request.user, now=timezone.now())
    except MirageError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "The study is a draft again. Its study copies are deleted.")
    return redirect(study)

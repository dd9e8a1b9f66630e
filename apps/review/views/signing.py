"""Acts of a study's manager that are signed: lock, unblind, export."""

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.accounts.forms_signing import Act, SigningForm
from apps.accounts.requests import SignedInRequest
from apps.accounts.signing import Signature
from apps.review.exporting import ExportKind
from apps.review.forms_signing import LockForm
from apps.review.models import ReaderStudy, StudyState
from apps.review.ratings_of import missing_readings
from apps.review.services import results

UNPROCESSABLE = 422


LOCK = Act(
    "Lock the study",
    "Lock the study",
    "Nothing was locked",
    (
        "From now on no reader saves, submits or amends an answer.",
        "A locked study is never opened again.",
        "Arms stay hidden until the study is unblinded, which is signed too.",
    ),
)
UNBLIND = Act(
    "Unblind the study",
    "Unblind the study",
    "Nothing was unblinded",
    (
        "Readings are joined to their arms, and the statistics of the protocol are computed.",
        "A study cannot be blinded again.",
    ),
)
FILES = {
    ExportKind.PDF: ("PDF report", "The statistics page on paper."),
    ExportKind.CSV: (
        "Tidy CSV",
        "One row for each answer, with reader, case and arm; amended and first answers.",
    ),
    ExportKind.IMRMC: (
        "iMRMC, by arm",
        "Input of the FDA's iMRMC: do the answers tell the arms apart? Questions are modalities.",
    ),
    ExportKind.IMRMC_DIAGNOSIS: (
        "iMRMC, by diagnosis",
        "Input of the FDA's iMRMC: is the disease seen as well in each arm? Arms are modalities.",
    ),
    ExportKind.JSON: ("Analysis as JSON", "All figures with the protocol and what made them."),
}


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_act(request: SignedInRequest, study_id: int, act: str) -> HttpResponse:
    """Lock or unblind a study."""
    acts = {"lock": _lock, "unblind": _unblind}
    if act not in acts:
        raise Http404
    return acts[act](request, study_id)


def _lock(request: SignedInRequest, study_id: int) -> HttpResponse:
    """End the readings."""
    study = _managed(request, study_id, StudyState.OPEN)
    if isinstance(study, HttpResponse):
        return study
    missing = missing_readings(study)
    form = LockForm(request.POST or None, initial={"missing": missing})

    def act(signature: Signature) -> HttpResponse:
        results.lock_study(
            study=study,
            signature=signature,
            missing_accepted=form.missing_accepted,
            now=timezone.now(),
        )
        messages.success(request, "The study is locked. No answer is taken any more.")
        return redirect("review:statistics", study.pk)

    return _signed(request, study, LOCK, form, act)


def _unblind(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Join the readings to their arms and ask for the statistics."""
    study = _managed(request, study_id, StudyState.LOCKED)
    if isinstance(study, HttpResponse):
        return study

    def act(signature: Signature) -> HttpResponse:
        results.unblind_study(study=study, signature=signature, now=timezone.now())
        return redirect("review:statistics", study.pk)

    return _signed(request, study, UNBLIND, SigningForm(request.POST or None), act)


@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def export(request: SignedInRequest, study_id: int, kind: str) -> HttpResponse:
    """One file of the study; that it was taken stands in the log."""
    if kind not in set(ExportKind):
        raise Http404
    study = _managed(request, study_id, StudyState.UNBLINDED)
    if isinstance(study, HttpResponse):
        return study
    file = ExportKind(kind)
    name, what = FILES[file]
    act = Act(
        f"Export: {name}",
        f"Download {name}",
        "Nothing was exported",
        (what, "It holds no name, age or sex of a patient, and readers are numbers.",
         "Who took it, when and why stands in the log, with the hash of the file."),
    )  # fmt: skip

    def download(signature: Signature) -> HttpResponse:
        made = results.export_study(study=study, kind=file, signature=signature, now=timezone.now())
        response = HttpResponse(made.content, content_type=made.content_type)
        response["Content-Disposition"] = f'attachment; filename="{made.name}"'
        response["Cache-Control"] = "no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    return _signed(request, study, act, SigningForm(request.POST or None), download)


def _managed(
    request: SignedInRequest, study_id: int, state: StudyState
) -> ReaderStudy | HttpResponse:
    """The manager's study, or the way back with a word where the act is not due."""
    study = get_object_or_404(ReaderStudy.objects.managed_by(request.user), pk=study_id)
    if study.state == state:
        return study
    messages.warning(
        request,
        f"The study is {study.get_state_display().lower()}; this is done to a study that is "
        f"{state.label.lower()}.",
    )
    return redirect("review:statistics", study.pk)


def _signed(
    request: SignedInRequest,
    study: ReaderStudy,
    act: Act,
    form: SigningForm,
    do: Callable[[Signature], HttpResponse],
) -> HttpResponse:
    """Ask for reason and password; do the act with a signature, or say what is wrong."""
    if (answer := form.done(request, do)) is not None:
        return answer
    context = {
        "section": "studies",
        "study": study,
        "act": act,
        "form": form,
        "missing": missing_readings(study) if isinstance(form, LockForm) else 0,
    }
    status = UNPROCESSABLE if form.errors else 200
    return render(request, "review/sign.html", context, status=status)

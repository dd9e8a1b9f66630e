"""The protocol of a study: its form while it is a draft, its text from the freeze on."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.review.forms import ARMS, AssumptionsForm, ProtocolForm
from apps.review.models import ReaderStudy, StudyState
from apps.review.power import Power, power_of
from apps.review.protocol import ProtocolError
from apps.review.selectors import NO_RECONSTRUCTION
from apps.review.services import setup
from apps.review.statistics.planning import PlanError
from apps.review.views.manager import managed


@require_http_methods(["GET", "HEAD", "POST"])
def protocol(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Show, edit and save the protocol.

    The buttons that add, move and remove a question give the page back with the change, not saved.
    """
    study = managed(request, study_id)
    if study.state != StudyState.DRAFT:
        context = {"section": "studies", "study": study, "plan": study.plan, "arms": ARMS}
        return render(request, "review/protocol_frozen.html", context)
    if request.method != "POST":
        return _page(request, study, ProtocolForm(study.plan))
    form = ProtocolForm(study.plan, request.POST)
    verb, _, key = request.POST.get("act", "save").partition(":")
    if verb != "save":
        _edit(form, verb, key)
        return _page(request, study, form, unsaved=True)
    return _save(request, study, form)


@require_POST
def power(request: SignedInRequest, study_id: int) -> HttpResponse:
    """The planner's box for what is typed, saved or not."""
    study = managed(request, study_id)
    found, problem = _power(ProtocolForm(study.plan, request.POST), AssumptionsForm(request.POST))
    return render(request, "review/partials/power.html", {"power": found, "problem": problem})


def _edit(form: ProtocolForm, verb: str, key: str) -> None:
    if verb == "add":
        form.add()
    elif verb == "remove":
        form.remove(key)
    elif verb in {"up", "down"}:
        form.move(key, -1 if verb == "up" else 1)


def _save(request: SignedInRequest, study: ReaderStudy, form: ProtocolForm) -> HttpResponse:
    typed = form.protocol()
    if typed is None:
        return _page(request, study, form, status=422)
    try:
        cases_gone = setup.change_protocol(
            study=study, protocol=typed, changed_by=request.user, now=timezone.now()
        )
    except MirageError as error:
        form.messages.append(str(error))
        return _page(request, study, form, status=422)
    messages.success(request, "The protocol is saved.")
    if cases_gone:
        messages.warning(
            request, "The cases were drawn for another design and are gone. Draw them again."
        )
    return redirect("review:protocol", study.pk)


def _page(
    request: SignedInRequest,
    study: ReaderStudy,
    form: ProtocolForm,
    *,
    unsaved: bool = False,
    status: int = 200,
) -> HttpResponse:
    assumed = AssumptionsForm(
        request.POST if "plan-readers" in request.POST else None,
        readers=study.readers.count() or 2,
    )
    posted = request.method == "POST"
    found, problem = _power(ProtocolForm(study.plan, request.POST) if posted else form, assumed)
    context = {
        "section": "studies",
        "study": study,
        "form": form,
        "arms": ARMS,
        "no_reconstruction": NO_RECONSTRUCTION,
        "assumed": assumed,
        "power": found,
        "problem": problem,
        "unsaved": unsaved,
    }
    return render(request, "review/protocol.html", context, status=status)


def _power(form: ProtocolForm, assumed: AssumptionsForm) -> tuple[Power | None, str]:
    """What the typed design can show, or why that cannot be said."""
    typed = form.protocol() if form.design.is_bound else form.protocol_before
    if typed is None:
        return None, "The planner starts when the protocol has no error."
    try:
        return power_of(typed, assumed.assumptions()), ""
    except (PlanError, ProtocolError) as error:
        return None, str(error)

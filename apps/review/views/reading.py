"""The reading page: one case, its images and its questions, and what is done with the answers."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.review import blinding
from apps.review.answers import AnswerError
from apps.review.models import Reading, Slot
from apps.review.progress import progress_of
from apps.review.reading_form import PREFIX, answers_in
from apps.review.services import reading as services
from apps.review.views.reading_pages import page_of

REFUSED = 422
CONFLICT = 409
LONGEST_CLAIM_DIGITS = 12


@require_safe
def reading(request: SignedInRequest, token: str) -> HttpResponse:
    """The page of one case: to be read, or to be looked at again."""
    slot = blinding.visible_slot(request.user, token)
    found = services.begin_reading(slot=slot, now=timezone.now())
    if found is None:  # not its turn, or never read before the study was closed
        return redirect(_going_on(slot))
    return _page(request, slot, found, amending=request.GET.get("amend", ""))


@require_safe
def case_volume(request: SignedInRequest, token: str) -> HttpResponse:
    """The study copy of a case, for the viewer."""
    return blinding.study_copy_response(blinding.visible_slot(request.user, token))


@require_safe
def case_picture(request: SignedInRequest, token: str) -> HttpResponse:
    """Fixed slices of the study copy, for browsers that cannot draw it."""
    return blinding.mosaic_response(blinding.visible_slot(request.user, token))


@require_POST
def save(request: SignedInRequest, token: str) -> HttpResponse:
    """Keep the answers so far; the page asks for this by itself while it is filled in."""
    slot = blinding.visible_slot(request.user, token)
    try:
        saved = services.save_answers(slot=slot, **_sent(request, slot), now=timezone.now())
    except MirageError as error:
        return _refusal(error, slot)
    return JsonResponse(_state(saved))


@require_POST
def submit(request: SignedInRequest, token: str) -> HttpResponse:
    """Lock the case, and lead to the next one."""
    slot = blinding.visible_slot(request.user, token)
    wants_json = request.headers.get("Accept") == "application/json"
    try:
        submitted = services.submit_reading(slot=slot, **_sent(request, slot), now=timezone.now())
    except MirageError as error:
        return _refusal(error, slot) if wants_json else _refused_page(request, slot, error)
    if wants_json:
        return JsonResponse({**_state(submitted), "next": _after(slot)})
    return redirect(_after(slot))


@require_POST
def amend(request: SignedInRequest, token: str) -> HttpResponse:
    """Another answer to one question of a submitted case, with its reason."""
    slot = blinding.visible_slot(request.user, token)
    plan = slot.reader.study.plan
    question = request.POST.get("question", "")
    try:
        services.amend_reading(
            slot=slot,
            question=question,
            answer=answers_in(request.POST, plan).get(question),
            reason=request.POST.get("reason", ""),
            now=timezone.now(),
        )
    except MirageError as error:
        found = Reading.objects.filter(slot=slot).first()
        return _page(request, slot, found, amending=question, amend_problem=str(error))
    messages.success(request, "The amendment is kept beside the answer you submitted.")
    return redirect("review:reading", token)


def _page(
    request: SignedInRequest,
    slot: Slot,
    found: Reading | None,
    *,
    problem: str = "",
    amending: str = "",
    amend_problem: str = "",
) -> HttpResponse:
    page = page_of(slot, found)
    is_submitted = found is not None and found.submitted_at is not None
    if is_submitted and not page.shown["may_go_back"]:
        return render(request, "review/not_again.html", {"page": page}, status=403)
    context = {
        "page": page,
        "problem": problem,
        "amend_field": page.field(amending) if is_submitted and page.may_amend else None,
        "amend_problem": amend_problem,
        "reason": request.POST.get("reason", ""),
    }
    status = REFUSED if problem or amend_problem else 200
    return render(request, "review/reading.html", context, status=status)


def _sent(request: SignedInRequest, slot: Slot) -> dict[str, Any]:
    """What a form says: answers, the revision they start from, and the time in view."""
    return {
        "answers": answers_in(request.POST, slot.reader.study.plan),
        "revision": _count(request.POST.get("revision", "")),
        "active_ms": _count(request.POST.get("active_ms", "")),
    }


def _count(text: str) -> int:
    """A whole number that a page sent; what is none counts as none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= LONGEST_CLAIM_DIGITS
    return int(text) if is_number else 0


def _state(found: Reading) -> dict[str, Any]:
    """What a page is told of a reading: its own answers, and nothing else."""
    return {
        "saved_at": f"{timezone.localtime(found.saved_at):%H:%M:%S}",
        "revision": found.revision,
        "active_ms": found.active_ms,
    }


def _refusal(error: MirageError, slot: Slot) -> JsonResponse:
    """Why the answers were not taken, and what the page needs to go on."""
    told: dict[str, Any] = {"problem": str(error)}
    status = REFUSED
    if isinstance(error, services.NotYetError):
        told |= _state(error.reading) | {"wait_s": error.wait_s}
        if error.question:
            told["field"] = PREFIX + error.question
    elif isinstance(error, AnswerError):
        told["field"] = PREFIX + error.question
    elif isinstance(error, services.AlreadySubmittedError):
        told["next"] = _going_on(slot)
        status = CONFLICT
    elif isinstance(error, services.StaleReadingError):
        told |= _state(error.reading) | {
            "answers": {PREFIX + name: said for name, said in error.reading.answers.items()}
        }
        status = CONFLICT
    else:
        told["next"] = reverse("review:worklist")
        status = CONFLICT
    return JsonResponse(told, status=status)


def _refused_page(request: SignedInRequest, slot: Slot, error: MirageError) -> HttpResponse:
    """The same without scripts: the page again, with the reason at the top of the form."""
    found = services.begin_reading(slot=slot, now=timezone.now())
    if found is None or isinstance(error, services.AlreadySubmittedError):
        messages.warning(request, str(error))
        return redirect(_going_on(slot))
    return _page(request, slot, found, problem=str(error))


def _after(slot: Slot) -> str:
    """Where a reader goes when a case is submitted: on, to a pause, or to the end."""
    upcoming = blinding.next_slot(slot.reader)
    study = slot.reader.study_id
    if upcoming is None:
        return reverse("review:my-readings", args=[study])
    total = blinding.presentation(slot)["total"]
    if progress_of(slot.reader, total=total).is_pause:
        return reverse("review:pause", args=[study])
    return reverse("review:reading", args=[upcoming.token])


def _going_on(slot: Slot) -> str:
    upcoming = blinding.next_slot(slot.reader)
    is_open = blinding.presentation(slot)["is_open"]
    if upcoming is None or not is_open:
        return reverse("review:worklist")
    return reverse("review:reading", args=[upcoming.token])

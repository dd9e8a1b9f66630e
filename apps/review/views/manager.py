"""The manager's studies: the list, a new one, and the page of one before and while it is read."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.jobs.selectors import unserved_queues
from apps.review import selectors
from apps.review.forms import TitleForm
from apps.review.models import ReaderStudy, StudyEvent, StudyFreeze, StudyState
from apps.review.services import setup

STUDIES_PER_PAGE = 25


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to an open study."""

    title: str
    words: str
    page: str
    verb: str
    is_done: bool


@require_safe
def studies(request: SignedInRequest) -> HttpResponse:
    """The studies that the user manages."""
    _check_may_manage(request)
    submitted = Q(readers__slots__reading__submitted_at__isnull=False)
    found = (
        ReaderStudy.objects.managed_by(request.user)
        .annotate(
            reader_count=Count("readers", distinct=True),
            slot_count=Count("readers__slots", distinct=True),
            done=Count("readers__slots", filter=submitted, distinct=True),
        )
        .order_by("-pk")
    )
    page = Paginator(found, STUDIES_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "section": "studies",
        "studies": page.object_list,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
    }
    return render(request, "review/studies.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def create_study(request: SignedInRequest) -> HttpResponse:
    """A new draft with the paper's questions; its protocol follows."""
    _check_may_manage(request)
    form = TitleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = setup.create_study(
            title=form.cleaned_data["title"], manager=request.user, now=timezone.now()
        )
        messages.success(request, "The draft is there, with the paper’s questions.")
        return redirect("review:protocol", made.pk)
    status = 422 if request.method == "POST" else 200
    context = {"section": "studies", "form": form}
    return render(request, "review/create_study.html", context, status=status)


@require_safe
def study(request: SignedInRequest, study_id: int) -> HttpResponse:
    """What is to do before a study is opened, or how far its readers are."""
    found = managed(request, study_id)
    context = {"section": "studies", "study": found, "plan": found.plan}
    if found.state in (StudyState.DRAFT, StudyState.FREEZING):
        context |= {
            "steps": _steps(found),
            "freeze": freeze_line(found),
            "is_draft": found.state == StudyState.DRAFT,
        }
        return render(request, "review/draft.html", context)
    progress = selectors.progress_of(found)
    opened = found.events.filter(kind=StudyEvent.Kind.OPENED).first()
    context |= {
        "progress": progress,
        "done": sum(each.done for each in progress),
        "total": sum(each.total for each in progress),
        "withdrawn": found.cases.filter(withdrawn_at__isnull=False).count(),
        "opened": opened.details if opened else {},
    }
    return render(request, "review/study.html", context)


@require_POST
def delete_draft(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Delete a draft, with its cases and invitations."""
    found = managed(request, study_id)
    try:
        setup.delete_draft(study=found, deleted_by=request.user)
    except MirageError as error:
        messages.error(request, str(error))
        return redirect(found)
    messages.success(request, f"The draft {found.title} is deleted.")
    return redirect("review:studies")


def managed(request: SignedInRequest, study_id: int) -> ReaderStudy:
    """A study of this manager; another's does not exist for them."""
    studies = ReaderStudy.objects.managed_by(request.user).select_related("manager")
    return get_object_or_404(studies, pk=study_id)


@dataclass(frozen=True, slots=True)
class FreezeLine:
    """Where a freeze stands."""

    freeze: StudyFreeze
    has_worker: bool


def freeze_line(study: ReaderStudy) -> FreezeLine | None:
    """The freeze of a study, if there is one."""
    freeze = StudyFreeze.objects.filter(study=study).first()
    if freeze is None:
        return None
    return FreezeLine(freeze, freeze.is_final or freeze.QUEUE not in unserved_queues())


def _steps(study: ReaderStudy) -> list[Step]:
    cases, readers, plan = study.cases.count(), study.readers.count(), study.plan
    changed = study.events.filter(kind=StudyEvent.Kind.PROTOCOL_CHANGED).exists()
    return [
        Step(
            "Protocol",
            f"{len(plan.questions)} questions, {plan.cases_per_arm} cases in each of "
            f"{len(plan.arms)} arms, {plan.repeats} repeats.",
            "review:protocol",
            "Edit the protocol",
            changed or cases > 0,
        ),
        Step(
            "Cases",
            f"{cases} drawn, practice included."
            if cases
            else "None drawn yet. They are drawn from your cohorts, balanced and repeatable.",
            "review:cases",
            "See the cases" if cases else "Draw the cases",
            cases > 0,
        ),
        Step(
            "Readers",
            f"{readers} invited." if readers else "Nobody is invited yet.",
            "review:readers",
            "See the readers" if readers else "Invite readers",
            readers > 0,
        ),
        Step(
            "Opening",
            "Study copies are made, orders are drawn, and nothing changes any more.",
            "review:open-study",
            "Open the study",
            False,
        ),
    ]


def _check_may_manage(request: SignedInRequest) -> None:
    if not setup.may_manage(request.user):
        raise PermissionDenied

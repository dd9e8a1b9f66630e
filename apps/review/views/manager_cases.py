"""Whose volumes become cases, and who reads them."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.models import User
from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients.models import Cohort
from apps.review import selectors
from apps.review.drawing import WORDS
from apps.review.forms import DrawForm, InvitationForm
from apps.review.models import Reader, ReaderStudy, StudyState
from apps.review.services import setup
from apps.review.views.manager import managed


@require_http_methods(["GET", "HEAD", "POST"])
def cases(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Draw the cases, and see how alike the arms are."""
    study = managed(request, study_id)
    chosen = selectors.cohorts_of(study)
    if request.method != "POST":
        return _cases_page(request, study, DrawForm(request.user, chosen=chosen))
    form = DrawForm(request.user, request.POST)
    if not form.is_valid():
        return _cases_page(request, study, form, status=422)
    try:
        drawn = setup.draw_cases(
            study=study,
            cohorts=list(form.cleaned_data["cohorts"]),
            drawn_by=request.user,
            now=timezone.now(),
        )
    except MirageError as error:
        form.add_error(None, str(error))
        return _cases_page(request, study, form, status=422)
    messages.success(request, f"{len(drawn)} cases are drawn. Look at their balance below.")
    return redirect("review:cases", study.pk)


def _cases_page(
    request: SignedInRequest, study: ReaderStudy, form: DrawForm, status: int = 200
) -> HttpResponse:
    plan = study.plan
    mine = Cohort.objects.visible_to(request.user).order_by("name")
    stock = selectors.stock_of([cohort.pk for cohort in mine])
    taken = {str(value) for value in form["cohorts"].value() or ()}
    context = {
        "section": "studies",
        "study": study,
        "plan": plan,
        "form": form,
        "choices": [(each, stock[each.pk], str(each.pk) in taken) for each in mine],
        "is_draft": study.state == StudyState.DRAFT,
        "arms": [WORDS[arm][0] for arm in plan.arms],
        "balance": selectors.balance_of(study),
        "drawn": study.cases.filter(is_practice=False).count(),
        "practice": study.cases.filter(is_practice=True).count(),
        "withdrawn": study.cases.filter(withdrawn_at__isnull=False).count(),
        "cohorts": selectors.cohorts_of(study),
    }
    return render(request, "review/cases.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def readers(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Who reads, and inviting another."""
    study = managed(request, study_id)
    if request.method != "POST":
        return _readers_page(request, study, InvitationForm())
    form = InvitationForm(request.POST)
    if form.is_valid() and _invited(request, study, form):
        return redirect("review:readers", study.pk)
    return _readers_page(request, study, form, status=422)


def _invited(request: SignedInRequest, study: ReaderStudy, form: InvitationForm) -> bool:
    name = form.cleaned_data["username"].strip()
    user = User.objects.filter(username=name).first()
    if user is None:
        form.add_error("username", f"There is no account {name}. Check how it is written.")
        return False
    try:
        reader = setup.invite_reader(
            study=study,
            user=user,
            invited_by=request.user,
            knows_cases=form.cleaned_data["knows_cases"],
            now=timezone.now(),
        )
    except MirageError as error:
        form.add_error("username", str(error))
        return False
    messages.success(request, f"{name} is reader {reader.number}.")
    return True


@require_POST
def remove_reader(request: SignedInRequest, study_id: int, number: int) -> HttpResponse:
    """Take a reader out of a draft."""
    study = managed(request, study_id)
    reader = get_object_or_404(Reader.objects.filter(study=study), number=number)
    try:
        setup.remove_reader(reader=reader, removed_by=request.user, now=timezone.now())
    except MirageError as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, f"{reader.user.get_username()} does not read this study any more."
        )
    return redirect("review:readers", study.pk)


def _readers_page(
    request: SignedInRequest, study: ReaderStudy, form: InvitationForm, status: int = 200
) -> HttpResponse:
    context = {
        "section": "studies",
        "study": study,
        "form": form,
        "is_draft": study.state == StudyState.DRAFT,
        "readers": [
            (reader, selectors.known_cohorts(study, reader.user))
            for reader in study.readers.select_related("user").order_by("number")
        ],
    }
    return render(request, "review/readers.html", context, status=status)

"""What was done to a study, by whom, when and why."""

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.review.models import ReaderStudy

A_PAGE = 50


@require_safe
def log(request: SignedInRequest, study_id: int) -> HttpResponse:
    """The events of a study, newest first; none of them can be changed."""
    study = get_object_or_404(ReaderStudy.objects.managed_by(request.user), pk=study_id)
    events = study.events.select_related("actor").order_by("-happened_at", "-pk")
    page = Paginator(events, A_PAGE).get_page(request.GET.get("page"))
    return render(request, "review/log.html", {"section": "studies", "study": study, "page": page})

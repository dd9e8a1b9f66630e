"""The reader's worklist, the cases they have submitted, and the pause between two sessions."""

from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.accounts.requests import SignedInRequest
from apps.review import blinding
from apps.review.blinding import Assignment
from apps.review.progress import Progress, progress_of, submitted_slots
from apps.review.views.reading_pages import pace_in_words


@dataclass(frozen=True, slots=True)
class Line:
    """One study of the worklist."""

    assignment: Assignment
    progress: Progress

    @property
    def address(self) -> str:
        """Of the case to read now; empty if there is none."""
        token = self.assignment.token
        return reverse("review:reading", args=[token]) if token else ""

    @property
    def is_open(self) -> bool:
        return self.assignment.study.state == "open"

    @property
    def practice_left(self) -> int:
        return max(0, self.assignment.practice - self.assignment.done)

    @property
    def pace(self) -> str:
        return pace_in_words(self.progress)


@require_safe
def worklist(request: SignedInRequest) -> HttpResponse:
    """Every opened study that the user reads."""
    lines = [_line(assignment) for assignment in blinding.worklist(request.user)]
    return render(request, "review/worklist.html", {"section": "reading", "lines": lines})


@require_safe
def my_readings(request: SignedInRequest, study_id: int) -> HttpResponse:
    """The cases that the user has submitted in one study, and what is still to read."""
    line = _own_line(request, study_id)
    reader = line.assignment.reader
    context = {
        "section": "reading",
        "line": line,
        "slots": list(enumerate(submitted_slots(reader), start=1)),
        "may_go_back": reader.study.plan.may_go_back,
    }
    return render(request, "review/my_readings.html", context)


@require_safe
def pause(request: SignedInRequest, study_id: int) -> HttpResponse:
    """Between two sessions: a pause is proposed, not enforced."""
    line = _own_line(request, study_id)
    if not line.address:
        return redirect("review:my-readings", study_id)
    return render(request, "review/pause.html", {"section": "reading", "line": line})


def _own_line(request: SignedInRequest, study_id: int) -> Line:
    for assignment in blinding.worklist(request.user):
        if assignment.study.pk == study_id:
            return _line(assignment)
    raise Http404


def _line(assignment: Assignment) -> Line:
    return Line(assignment, progress_of(assignment.reader, total=assignment.total))

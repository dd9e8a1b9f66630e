"""What a reader may see. The only module of the reader's side that touches a case.

A reader knows a presentation by its token, 128 random bits. What is shown with it is the allow-list
of `presentation`; its voxels come as a study copy, of which everything but the voxels is the same
for all cases. Whatever is not the reader's answers 404, as if it did not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpResponse
from PIL import Image

from apps.accounts.models import User
from apps.patients import mosaics
from apps.review.models import Reader, ReaderStudy, Slot, StudyState

FILE_NAME = "case.nii"
PICTURE_NAME = "case.png"
WAS_OPENED = (StudyState.OPEN, StudyState.LOCKED, StudyState.UNBLINDED)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One study on a reader's worklist.

    Attributes:
        study: which; pages show its title, state and marks only.
        reader: the user as its reader.
        total, done: presentations, practice and repeats included; withdrawn ones are not counted.
        practice: how many of the total are practice.
        token: of the next presentation; empty if all are done or the study is not open.
    """

    study: ReaderStudy
    reader: Reader
    total: int
    done: int
    practice: int
    token: str


def visible_slot(user: User, token: str) -> Slot:
    """The presentation behind a token, for the reader it was made for.

    Raises:
        Http404: there is none, it is another's, its study was never opened, or its case was
            withdrawn before it was read.
    """
    slot = (
        _slots()
        .select_related("reader__study", "reading")
        .filter(reader__user=user, reader__study__state__in=WAS_OPENED, token=token)
        .first()
    )
    if slot is None:
        raise Http404
    return slot


def next_slot(reader: Reader) -> Slot | None:
    """The presentation that a reader has to read now; None if all are submitted."""
    return _unread(reader).first()


def slot_after(slot: Slot) -> Slot | None:
    """The presentation that will be due when this one is submitted, to be fetched ahead."""
    return _unread(slot.reader).exclude(pk=slot.pk).first()


def worklist(user: User) -> list[Assignment]:
    """The opened studies that a user reads, those with something to do first."""
    readers = Reader.objects.filter(user=user, study__state__in=WAS_OPENED).select_related("study")
    found = [_assignment(reader) for reader in readers]
    return sorted(found, key=lambda each: (not each.token, -each.study.pk))


def presentation(slot: Slot) -> Mapping[str, Any]:
    """All that a page or an answer in JSON may hold about a presentation.

    Nothing of the case is in it: neither its number nor whether it is a repeat.
    """
    study = slot.reader.study
    plan = study.plan
    of_reader = _slots().filter(reader=slot.reader)
    return {
        "token": slot.token,
        "position": of_reader.filter(position__lte=slot.position).count(),
        "total": of_reader.count(),
        "is_practice": slot.position <= plan.practice_cases,
        "study": study.title,
        "is_open": study.state == StudyState.OPEN,
        "is_simulated": study.is_simulated,
        "minimum_viewing_s": plan.minimum_viewing_s,
        "cases_per_session": plan.cases_per_session,
        "may_go_back": plan.may_go_back,
        "may_amend": plan.may_amend,
        "window": [0, 255],
    }


def study_copy_response(slot: Slot) -> HttpResponse:
    """The voxels of a presentation. All but the voxels is the same for every case.

    Raises:
        Http404: the study is not open any more, or the copy is gone.
    """
    return _constant(_copy(slot).read_bytes(), "application/octet-stream", FILE_NAME)


def mosaic_response(slot: Slot) -> HttpResponse:
    """Slices of the same voxels as PNG, not compressed, so that all have one length.

    Raises:
        Http404: as for the voxels.
    """
    drawn = Image.open(BytesIO(mosaics.render(_copy(slot), synthetic=False)))
    picture = BytesIO()
    drawn.save(picture, "PNG", compress_level=0)
    return _constant(picture.getvalue(), "image/png", PICTURE_NAME)


def _slots() -> QuerySet[Slot]:
    """Presentations to be read, or already read: those of withdrawn cases are skipped."""
    withdrawn = Q(case__withdrawn_at__isnull=False)
    return Slot.objects.exclude(withdrawn & Q(reading__submitted_at=None))


def _unread(reader: Reader) -> QuerySet[Slot]:
    due = _slots().filter(reader=reader, reading__submitted_at=None)
    return due.select_related("reader__study").order_by("position")


def _assignment(reader: Reader) -> Assignment:
    slots = _slots().filter(reader=reader)
    upcoming = next_slot(reader) if reader.study.state == StudyState.OPEN else None
    return Assignment(
        study=reader.study,
        reader=reader,
        total=slots.count(),
        done=slots.filter(reading__submitted_at__isnull=False).count(),
        practice=slots.filter(position__lte=reader.study.plan.practice_cases).count(),
        token=upcoming.token if upcoming else "",
    )


def _copy(slot: Slot) -> Path:
    found = (
        Slot.objects.filter(pk=slot.pk, reader__study__state=StudyState.OPEN)
        .values_list(F("case__file"), flat=True)
        .first()
    )
    path = Path(settings.MEDIA_ROOT) / (found or "")
    if not found or not path.is_file():
        raise Http404
    return path


def _constant(content: bytes, content_type: str, name: str) -> HttpResponse:
    """Neither an entity tag nor a time nor an encoding, which differ from file to file."""
    response = HttpResponse(content, content_type=content_type)
    response["Content-Disposition"] = f'inline; filename="{name}"'
    response["Content-Length"] = str(len(content))
    response["Cache-Control"] = "no-store"
    response["X-Content-Type-Options"] = "nosniff"
    return response

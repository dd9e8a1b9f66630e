"""Reader studies: what is asked of whom, of which volumes, in which order, and what they said."""

from apps.review.models.readings import Amendment, Reading, StudyEvent
from apps.review.models.studies import (
    Case,
    Reader,
    ReaderStudy,
    Slot,
    StudyAnalysis,
    StudyFreeze,
    StudyState,
    new_token,
)

__all__ = [
    "Amendment",
    "Case",
    "Reader",
    "ReaderStudy",
    "Reading",
    "Slot",
    "StudyAnalysis",
    "StudyEvent",
    "StudyFreeze",
    "StudyState",
    "new_token",
]

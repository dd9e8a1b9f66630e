"""What may depend on an import, so that it can no longer be taken back.

Other apps say so themselves: they register a question here when Django starts.
"""

from collections.abc import Callable

from apps.patients.models import EhrImport, Finding, Patient

Question = Callable[[EhrImport], str]
_questions: list[Question] = []


def ask_before_undoing(question: Question) -> Question:
    """Register a question: why may this import not be undone? Empty if it may."""
    _questions.append(question)
    return question


def why_not(ehr_import: EhrImport) -> str:
    """Why an import cannot be taken back; empty if it can."""
    for question in (_later_findings, *_questions):
        if reason := question(ehr_import):
            return reason
    return ""


def _later_findings(ehr_import: EhrImport) -> str:
    if ehr_import.committed_at is None:
        return "It is not stored."
    created = Patient.objects.filter(
        cohort=ehr_import.cohort_id, created_at=ehr_import.committed_at
    )
    later = Finding.objects.filter(patient__in=created).exclude(recorded_at=ehr_import.committed_at)
    if later.exists():
        return "A later file added findings to patients whom this import created. Undo that first."
    return ""

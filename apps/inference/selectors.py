"""Questions about predictions that other apps ask."""

from apps.inference.models import InferenceRun, Prediction
from apps.patients.models import EhrImport


def predictions_since(ehr_import: EhrImport) -> str:
    """Why an import may not be undone: something was predicted from it. Empty if nothing was."""
    if ehr_import.committed_at is None:
        return ""
    later = InferenceRun.objects.filter(
        cohort=ehr_import.cohort_id, requested_at__gte=ehr_import.committed_at
    )
    if later.active().exists():
        return "A run over this cohort is under way. Wait until it ends, or cancel it."
    used = Prediction.objects.filter(
        run__in=later, patient__findings__recorded_at=ehr_import.committed_at
    )
    if used.exists():
        return "Predictions were made from these findings, so the import can no longer be undone."
    return ""

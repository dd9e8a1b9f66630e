"""Questions about predictions that other apps and pages ask."""

from dataclasses import dataclass

from django.db.models import Count, Q

from apps.inference.models import InferenceRun, Prediction, PredictionQuerySet, PseudoMRI
from apps.jobs.models import ACTIVE_STATES
from apps.patients.models import Cohort, EhrImport


def undecoded(cohort: Cohort) -> PredictionQuerySet:
    """Newest answers with a number that nobody has asked the pseudo-MRI of."""
    runs = cohort.runs.order_by().values("pk")
    numbered = Prediction.objects.filter(run__in=runs, probability__isnull=False).newest()
    return numbered.filter(pseudo_mri=None)


@dataclass(frozen=True, slots=True)
class Decodings:
    """Pseudo-MRIs of a cohort.

    Attributes:
        active: wait or are being decoded.
        asked: were asked for, of newest answers.
    """

    active: int
    asked: int


def decodings_of(cohort: Cohort) -> Decodings:
    """How many pseudo-MRIs of a cohort there are, in one query."""
    counted = PseudoMRI.objects.filter(prediction__patient__cohort=cohort).aggregate(
        active=Count("pk", filter=Q(state__in=[str(state) for state in ACTIVE_STATES])),
        asked=Count("pk", filter=Q(prediction__is_newest=True)),
    )
    return Decodings(**counted)


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

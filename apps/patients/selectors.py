"""Patients as the model reads them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from apps.patients.models import Finding
from ml.records import PatientRecord


def records_of(
    patients: Sequence[UUID], *, concepts: Sequence[str], as_known_at: datetime
) -> Mapping[UUID, PatientRecord]:
    """The newest value of each of these concepts, as far as it was stored at a time.

    A run and the pseudo-MRI decoded from it later thereby read the same record, whatever was
    uploaded in between.
    """
    values: dict[UUID, dict[str, float]] = {patient: {} for patient in patients}
    newest = Finding.objects.filter(
        patient__in=patients, concept__in=concepts, recorded_at__lte=as_known_at
    ).newest()
    for patient, concept, value in newest.values_list("patient_id", "concept", "value").iterator(
        chunk_size=10_000
    ):
        values[patient][concept] = value
    return {
        patient: PatientRecord(patient=str(patient), values=found)
        for patient, found in values.items()
    }

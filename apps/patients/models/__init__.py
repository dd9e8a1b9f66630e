"""What the application keeps of cohorts, patients, imported files and scans."""

from apps.patients.models.cohorts import (
    LARGEST_VALUE,
    Cohort,
    CohortQuerySet,
    Finding,
    FindingQuerySet,
    Membership,
    MembershipQuerySet,
    Patient,
    PatientQuerySet,
)
from apps.patients.models.imports import (
    CodeConcept,
    ConfirmedLink,
    EhrImport,
    EhrImportQuerySet,
    ImportStep,
    ImportStepQuerySet,
    MappingTemplate,
)
from apps.patients.models.scans import Scan, ScanQuerySet

__all__ = [
    "LARGEST_VALUE",
    "CodeConcept",
    "Cohort",
    "CohortQuerySet",
    "ConfirmedLink",
    "EhrImport",
    "EhrImportQuerySet",
    "Finding",
    "FindingQuerySet",
    "ImportStep",
    "ImportStepQuerySet",
    "MappingTemplate",
    "Membership",
    "MembershipQuerySet",
    "Patient",
    "PatientQuerySet",
    "Scan",
    "ScanQuerySet",
]

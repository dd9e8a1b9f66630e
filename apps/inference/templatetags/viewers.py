"""What the viewer may set beside a pseudo-MRI: template, the model's mean, the patient's scans."""

from collections.abc import Sequence
from dataclasses import dataclass

from django import template
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.urls import reverse

from apps.inference.means import mean_file
from apps.jobs.models import JobState
from apps.patients.models import Patient, Scan
from apps.registry.models import Bundle

register = template.Library()
TEMPLATE = "vendor/mni152/template-2mm.nii"  # made by `make assets`


@dataclass(frozen=True, slots=True)
class Reference:
    """A volume that the pseudo-MRI can be compared with."""

    name: str
    words: str
    address: str


@dataclass(frozen=True, slots=True)
class Beside:
    """Everything that the viewer of one patient can show but the pseudo-MRI itself.

    Attributes:
        references: what is chosen among, the first one at the start.
        newest_scan: shown where there is no pseudo-MRI.
        mean: address of the model's mean; empty where it was not drawn yet.
    """

    references: Sequence[Reference]
    newest_scan: Scan | None
    mean: str


@register.simple_tag
def beside(patient: Patient, bundle: Bundle | None) -> Beside:
    """What stands beside the pseudo-MRI of a patient that this bundle drew."""
    scans = list(patient.scans.filter(state=JobState.SUCCEEDED).order_by("-number"))
    references = [_of_scan(scan) for scan in scans]
    if finders.find(TEMPLATE):
        references.append(Reference("Template", "MNI152, 2 mm", static(TEMPLATE)))
    mean = ""
    if bundle and mean_file(bundle).is_file():
        mean = reverse("inference:mean-volume", args=[bundle.pk])
    return Beside(
        references=references,
        newest_scan=scans[0] if scans else None,
        mean=mean,
    )


def _of_scan(scan: Scan) -> Reference:
    age = "" if scan.age_years is None else f"at {scan.age_years:g} years, "
    return Reference(
        f"Scan {scan.number}",
        f"{age}acquired by a scanner",
        reverse("patients:scan-volume", args=[scan.pk]),
    )

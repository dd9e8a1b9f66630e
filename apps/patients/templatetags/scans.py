"""Scans in templates of any app: the page of a patient lists them, the viewer offers them."""

from django import template

from apps.accounts.models import User
from apps.patients.forms_scans import ScanForm
from apps.patients.models import Patient
from apps.patients.scans.folder import MAX_BYTES
from apps.patients.scans.presenting import ScanLine, ScanQueue, lines_of_patient, queue_of

register = template.Library()


@register.simple_tag
def scans_of(patient: Patient) -> list[ScanLine]:
    """The scans of a patient, the first first."""
    return lines_of_patient(patient)


@register.simple_tag
def scans_in_queue(user: User) -> ScanQueue:
    """The newest scans of the user's cohorts."""
    return queue_of(user)


@register.simple_tag
def scan_form() -> ScanForm:
    """An empty form for a scan."""
    return ScanForm()


@register.simple_tag
def most_scan_bytes() -> int:
    """How large the file of a scan may be."""
    return MAX_BYTES

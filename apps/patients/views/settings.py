"""What an owner decides about a cohort: name, archive, deletion; and deleting a patient."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients import deleting, owning
from apps.patients.forms import CohortForm, DeletionForm
from apps.patients.models import Cohort, Patient


@require_http_methods(["GET", "HEAD", "POST"])
def cohort_settings(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Name and description, and the ways to archive and to delete."""
    cohort = _owned(request, cohort_id)
    form = CohortForm(request.POST if request.method == "POST" else None, instance=cohort)
    if request.method == "POST" and form.is_valid():
        owning.edit_cohort(
            cohort=cohort,
            name=form.cleaned_data["name"],
            description=form.cleaned_data["description"],
            edited_by=request.user,
        )
        messages.success(request, "Saved.")
        return redirect("patients:cohort-settings", cohort.pk)
    stored = Cohort.objects.get(pk=cohort.pk)  # the form has written into the other one
    context = {"section": "cohorts", "cohort": stored, "form": form}
    return render(request, "patients/settings.html", context, status=422 if form.errors else 200)


@require_POST
def archive_cohort(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Put a cohort away."""
    cohort = _owned(request, cohort_id)
    try:
        owning.archive_cohort(cohort=cohort, archived_by=request.user, now=timezone.now())
    except MirageError as error:
        messages.error(request, str(error))
        return redirect("patients:cohort-settings", cohort.pk)
    messages.success(
        request, f"{cohort.name} is archived. It stays readable; bring it back to change it."
    )
    return redirect("patients:archived-cohorts")


@require_POST
def restore_cohort(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Bring an archived cohort back."""
    cohort = _owned(request, cohort_id)
    owning.restore_cohort(cohort=cohort, restored_by=request.user)
    messages.success(request, f"{cohort.name} is back.")
    return redirect(cohort)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_cohort(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Say what goes with a cohort; when its name is typed, delete it."""
    cohort = _owned(request, cohort_id)
    form = DeletionForm(request.POST if request.method == "POST" else None, name=cohort.name)
    if request.method == "POST" and form.is_valid():
        try:
            deleting.delete_cohort(
                cohort=cohort, typed=form.cleaned_data["typed"], deleted_by=request.user
            )
        except MirageError as error:
            form.add_error("typed", str(error))
        else:
            messages.success(request, f"The cohort {cohort.name} and all in it are deleted.")
            return redirect("patients:cohorts")
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "name": cohort.name,
        "form": form,
        "deletion": deleting.deletion_of(cohort=cohort),
        "back": cohort.get_absolute_url(),
    }
    return render(request, "patients/delete.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_patient(request: SignedInRequest, patient_id: UUID) -> HttpResponse:
    """Say what goes with a patient; when the pseudonym is typed, delete them."""
    patients = Patient.objects.visible_to(request.user).select_related("cohort")
    patient = get_object_or_404(patients, pk=patient_id)
    cohort = patient.cohort
    if not Cohort.objects.editable_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    form = DeletionForm(request.POST if request.method == "POST" else None, name=patient.pseudonym)
    if request.method == "POST" and form.is_valid():
        try:
            deleting.delete_patient(
                patient=patient, typed=form.cleaned_data["typed"], deleted_by=request.user
            )
        except MirageError as error:
            form.add_error("typed", str(error))
        else:
            messages.success(request, f"{patient.pseudonym} is deleted.")
            return redirect(cohort)
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "patient": patient,
        "name": patient.pseudonym,
        "form": form,
        "deletion": deleting.deletion_of(cohort=cohort, patient=patient),
        "back": patient.get_absolute_url(),
    }
    return render(request, "patients/delete.html", context, status=422 if form.errors else 200)


def _owned(request: SignedInRequest, cohort_id: UUID) -> Cohort:
    """The cohort: 404 where it is not the user's, 403 where they are not an owner of it."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    if not Cohort.objects.owned_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied
    return cohort

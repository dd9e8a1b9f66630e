"""Who belongs to a cohort, and in which role."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients import owning
from apps.patients.forms import MemberForm, RoleForm
from apps.patients.models import Cohort, Membership

WHAT_ROLES_DO = {
    Membership.Role.OWNER: "Everything a clinician does; decides on members, name, archive and "
    "deletion.",
    Membership.Role.CLINICIAN: "Imports, exports, runs MIRAGE, asks for pseudo-MRIs, deletes "
    "patients.",
    Membership.Role.VIEWER: "Looks at patients, answers and pseudo-MRIs; changes nothing.",
}


@require_safe
def members(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """The members of a cohort; an owner can add, change and remove."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    return _page(request, cohort, MemberForm())


@require_POST
def add_member(request: SignedInRequest, cohort_id: UUID) -> HttpResponse:
    """Give a user a role."""
    cohort = get_object_or_404(Cohort.objects.visible_to(request.user), pk=cohort_id)
    _check_owns(request, cohort)
    form = MemberForm(request.POST)
    if form.is_valid():
        try:
            membership = owning.add_member(
                cohort=cohort,
                username=form.cleaned_data["username"],
                role=form.cleaned_data["role"],
                added_by=request.user,
            )
        except MirageError as error:
            form.add_error("username", str(error))
        else:
            who, role = membership.user.get_username(), membership.get_role_display().lower()
            messages.success(request, f"{who} is a member now, as {role}.")
            return redirect("patients:members", cohort.pk)
    return _page(request, cohort, form, status=422)


@require_POST
def change_role(request: SignedInRequest, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    membership = _visible(request, membership_id)
    _check_owns(request, membership.cohort)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("patients:members", membership.cohort_id)
    try:
        owning.change_role(
            membership=membership, role=form.cleaned_data["role"], changed_by=request.user
        )
    except MirageError as error:
        messages.error(request, str(error))
    else:
        role = Membership.Role(form.cleaned_data["role"]).label.lower()
        messages.success(request, f"{membership.user.get_username()} is now {role} here.")
    return redirect("patients:members", membership.cohort_id)


@require_POST
def remove_member(request: SignedInRequest, membership_id: int) -> HttpResponse:
    """End a membership; a member may end their own."""
    membership = _visible(request, membership_id)
    if membership.user_id != request.user.pk:
        _check_owns(request, membership.cohort)
    try:
        owning.remove_member(membership=membership, removed_by=request.user)
    except MirageError as error:
        messages.error(request, str(error))
        return redirect("patients:members", membership.cohort_id)
    if membership.user_id == request.user.pk:
        messages.success(request, f"You have left the cohort {membership.cohort.name}.")
        return redirect("patients:cohorts")
    messages.success(request, f"{membership.user.get_username()} is no longer a member.")
    return redirect("patients:members", membership.cohort_id)


def _visible(request: SignedInRequest, membership_id: int) -> Membership:
    memberships = Membership.objects.visible_to(request.user).select_related("cohort", "user")
    return get_object_or_404(memberships, pk=membership_id)


def _check_owns(request: SignedInRequest, cohort: Cohort) -> None:
    if not Cohort.objects.owned_by(request.user).filter(pk=cohort.pk).exists():
        raise PermissionDenied


def _page(
    request: SignedInRequest, cohort: Cohort, form: MemberForm, status: int = 200
) -> HttpResponse:
    found = cohort.memberships.select_related("user").order_by("user__username")
    context = {
        "section": "cohorts",
        "cohort": cohort,
        "memberships": found,
        "owns": Cohort.objects.owned_by(request.user).filter(pk=cohort.pk).exists(),
        "form": form,
        "roles": Membership.Role.choices,
        "what_roles_do": [(role.label, words) for role, words in WHAT_ROLES_DO.items()],
    }
    return render(request, "patients/members.html", context, status=status)

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts.requests import SignedInRequest
from apps.patients import services
from apps.patients.forms import CohortForm
from apps.patients.models import Cohort, EhrImport, Membership, Patient

COHORTS_PER_PAGE = 25


@require_safe
def cohorts(request: SignedInRequest) -> HttpResponse:
    """The cohorts that the user belongs to."""
    return _list(request, is_archived=False)


@require_safe
def archived_cohorts(request: SignedInRequest) -> HttpResponse:
    """Those that were put away."""
    return _list(request, is_archived=True)


def _list(request: SignedInRequest, *, is_archived: bool) -> HttpResponse:
    of_cohort = {"cohort": OuterRef("pk")}
    patients = Patient.objects.filter(**of_cohort).order_by().values("cohort")
    imports = EhrImport.objects.filter(**of_cohort).order_by().values("cohort")
    mine = Cohort.objects.visible_to(request.user)
    found = (
        mine.filter(archived_at__isnull=not is_archived)
        .annotate(
            my_role=Subquery(
                Membership.objects.filter(**of_cohort, user=request.user).values("role")[:1]
            ),
            patient_count=Coalesce(Subquery(patients.annotate(n=Count("pk")).values("n")), 0),
            last_import_at=Subquery(imports.annotate(at=Max("committed_at")).values("at")),
        )
        .order_by("name", "pk")
    )
    counts = mine.aggregate(
        all=Count("pk"), archived=Count("pk", filter=Q(archived_at__isnull=False))
    )
    paginator = Paginator(found, COHORTS_PER_PAGE)
    here = counts["archived"] if is_archived else counts["all"] - counts["archived"]
    paginator.__dict__["count"] = here  # one query for both lists
    page = paginator.get_page(request.GET.get("page"))
    return render(
        request,
        "patients/archived_cohorts.html" if is_archived else "patients/cohorts.html",
        {
            "section": "cohorts",
            "cohorts": page.object_list,
            "archived": counts["archived"],
            "page": page,
            "page_numbers": page.paginator.get_elided_page_range(page.number),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
def create_cohort(request: SignedInRequest) -> HttpResponse:
    """A form for a new cohort; its page follows."""
    form = CohortForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        cohort = services.create_cohort(
            name=form.cleaned_data["name"],
            description=form.cleaned_data["description"],
            created_by=request.user,
            now=timezone.now(),
        )
        messages.success(request, f"The cohort {cohort.name} is there. Import its health records.")
        return redirect(cohort)
    context = {"section": "cohorts", "form": form}
    return render(
        request, "patients/create_cohort.html", context, status=422 if form.errors else 200
    )

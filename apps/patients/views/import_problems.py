"""What a check found: the problems by page, the file handed back, the decision to store."""

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.http import content_disposition_header, urlencode
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.requests import SignedInRequest
from apps.errors import MirageError
from apps.patients.importing import services
from apps.patients.importing.stages import Stage
from apps.patients.views.import_frame import editable_import, page_of

PROBLEMS_PER_PAGE = 50
FURTHEST_PAGE = 1_000_000


@require_safe
def problems(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Everything that the check found, by kind and by row, and what was dropped at the door."""
    found = editable_import(request, import_id)
    if found.stage != Stage.CHECKED:
        return redirect("patients:import", found.pk)
    code = request.GET.get("code", "")[:100]
    shown = services.page_of_problems(
        ehr_import=found,
        page=_page_number(request.GET.get("page", "")),
        per_page=PROBLEMS_PER_PAGE,
        code=code,
    )
    if shown.page > shown.pages:
        return redirect(f"{request.path}?{urlencode({'code': code, 'page': str(shown.pages)})}")
    page = Paginator(range(shown.kept), PROBLEMS_PER_PAGE).page(shown.page)
    context = {
        "shown": shown,
        "code": code,
        "heading": next((c.label for c in shown.counts if c.code == code), "All problems"),
        "all_count": sum(count.count for count in shown.counts),
        "error_kinds": [count for count in shown.counts if count.severity == "error"],
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(page.number),
        "base_query": f"{urlencode({'code': code})}&" if code else "",
    }
    return page_of(request, "problems.html", found, context)


@require_safe
def file_with_errors(request: SignedInRequest, import_id: UUID) -> HttpResponseBase:
    """The file as it was uploaded, with a column that says what is wrong with each row."""
    found = editable_import(request, import_id)
    try:
        file = services.file_with_errors(ehr_import=found)
    except MirageError as error:
        messages.warning(request, str(error))
        return redirect("patients:import", found.pk)
    response = StreamingHttpResponse(file.chunks, content_type=file.content_type)
    name = content_disposition_header(as_attachment=True, filename=file.file_name)
    response["Content-Disposition"] = str(name)
    return response


@require_POST
def commit_import(request: SignedInRequest, import_id: UUID) -> HttpResponse:
    """Queue the storing of every row in order."""
    found = editable_import(request, import_id)
    try:
        services.commit(
            ehr_import=found,
            requested_by=request.user,
            now=timezone.now(),
            leave_out_refused=bool(request.POST.get("leave_out_refused")),
        )
    except MirageError as error:
        messages.error(request, str(error))
    return redirect("patients:import", found.pk)


def _page_number(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
    return min(max(number, 1), FURTHEST_PAGE)

"""What every response gets."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def keep_pages_out_of_caches(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Forbid storing any page, because most show patient data. Static files never come here."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return middleware

"""Is the process alive, and can it do its work? For probes: no data, no sign-in."""

from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from apps.jobs import selectors as jobs
from apps.registry import selectors as registry


@login_not_required
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "alive"})


@login_not_required
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 if the database answers, every queue has a worker and a sound bundle is deployed."""
    try:
        connection.ensure_connection()
        unserved = sorted(jobs.unserved_queues())
        champion = registry.champion_state()
    except OperationalError:
        return JsonResponse({"status": "not ready", "database": "unreachable"}, status=503)
    problems = {"queues without a worker": unserved, "bundle": champion.problem}
    ready = not unserved and not champion.problem
    status = "ready" if ready else "not ready"
    return JsonResponse({"status": status} | problems, status=200 if ready else 503)

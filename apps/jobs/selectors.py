"""Questions about workers that pages and probes ask."""

from datetime import timedelta

from django.conf import settings

from apps.jobs.models import Worker, WorkerQuerySet

QUEUES = ("surrogate", "decode", "training", "import", "scan", "sweep")


def alive_workers() -> WorkerQuerySet:
    """Workers that have reported themselves a moment ago."""
    return Worker.objects.alive(within=timedelta(seconds=settings.MIRAGE_WORKER_SILENT_S))


def unserved_queues() -> set[str]:
    """Queues that no living worker serves."""
    served = {q for queues in alive_workers().values_list("queues", flat=True) for q in queues}
    return set(QUEUES) - served

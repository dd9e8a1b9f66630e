"""Questions about workers that pages and probes ask."""

from datetime import timedelta

from django.conf import settings

from apps.jobs.models import Worker

QUEUES = ("surrogate", "decode", "training", "sweep")


def unserved_queues() -> set[str]:
    """Queues that no living worker serves."""
    alive = Worker.objects.alive(within=timedelta(seconds=settings.MIRAGE_WORKER_SILENT_S))
    served = {queue for queues in alive.values_list("queues", flat=True) for queue in queues}
    return set(QUEUES) - served

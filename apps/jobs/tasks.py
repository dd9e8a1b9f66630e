from celery import shared_task

from apps.jobs import runner


@shared_task(acks_late=False, soft_time_limit=50, time_limit=60)
def sweep_task() -> None:
    runner.sweep()

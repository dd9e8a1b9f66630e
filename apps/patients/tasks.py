from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from apps.patients.importing import cleaning, runner
from apps.patients.models import ImportStep, Scan
from apps.patients.scans import runner as scans
from apps.patients.scans import services as scan_services


@shared_task(soft_time_limit=ImportStep.SOFT_LIMIT_S, time_limit=ImportStep.SOFT_LIMIT_S + 60)
def carry_out_import_step_task(*, job_id: str) -> None:
    runner.carry_out_step(step_id=UUID(job_id))


@shared_task(soft_time_limit=Scan.SOFT_LIMIT_S, time_limit=Scan.SOFT_LIMIT_S + 60)
def preprocess_scan_task(*, job_id: str) -> None:
    scans.preprocess(scan_id=UUID(job_id))


@shared_task(soft_time_limit=300, time_limit=360)
def clean_up_imports_task() -> None:
    days = timedelta(days=settings.MIRAGE_ABANDONED_IMPORT_DAYS)
    cleaning.clean_up(now=timezone.now(), older_than=days)


@shared_task(soft_time_limit=300, time_limit=360)
def forget_heads_task() -> None:
    """Heads of scans that failed and were not retried within a day."""
    scan_services.forget_heads(ended_before=timezone.now() - timedelta(days=1))

from uuid import UUID

from celery import shared_task

from apps.patients.importing import runner
from apps.patients.models import ImportStep


@shared_task(soft_time_limit=ImportStep.SOFT_LIMIT_S, time_limit=ImportStep.SOFT_LIMIT_S + 60)
def carry_out_import_step_task(*, job_id: str) -> None:
    runner.carry_out_step(step_id=UUID(job_id))

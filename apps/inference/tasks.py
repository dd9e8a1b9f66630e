from uuid import UUID

from celery import shared_task

from apps.inference import runner
from apps.inference.models import InferenceRun, PseudoMRI


@shared_task(soft_time_limit=InferenceRun.SOFT_LIMIT_S, time_limit=InferenceRun.SOFT_LIMIT_S + 60)
def execute_run_task(*, job_id: str) -> None:
    runner.execute(run_id=UUID(job_id))


@shared_task(soft_time_limit=PseudoMRI.SOFT_LIMIT_S, time_limit=PseudoMRI.SOFT_LIMIT_S + 60)
def decode_pseudo_mri_task(*, job_id: str) -> None:
    runner.decode(pseudo_mri_id=UUID(job_id))

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from apps.inference import runner, services, shadowing
from apps.inference.models import Explanation, InferenceRun, PseudoMRI, ShadowRun, WhatIf


@shared_task(soft_time_limit=InferenceRun.SOFT_LIMIT_S, time_limit=InferenceRun.SOFT_LIMIT_S + 60)
def execute_run_task(*, job_id: str) -> None:
    runner.execute(run_id=UUID(job_id))


@shared_task(soft_time_limit=PseudoMRI.SOFT_LIMIT_S, time_limit=PseudoMRI.SOFT_LIMIT_S + 60)
def decode_pseudo_mri_task(*, job_id: str) -> None:
    runner.decode(pseudo_mri_id=UUID(job_id))


@shared_task(soft_time_limit=Explanation.SOFT_LIMIT_S, time_limit=Explanation.SOFT_LIMIT_S + 60)
def explain_task(*, job_id: str) -> None:
    runner.explain(explanation_id=UUID(job_id))


@shared_task(soft_time_limit=WhatIf.SOFT_LIMIT_S, time_limit=WhatIf.SOFT_LIMIT_S + 60)
def try_what_if_task(*, job_id: str) -> None:
    runner.try_what_if(what_if_id=UUID(job_id))


@shared_task(soft_time_limit=ShadowRun.SOFT_LIMIT_S, time_limit=ShadowRun.SOFT_LIMIT_S + 60)
def shadow_task(*, job_id: str) -> None:
    shadowing.execute(shadow_id=UUID(job_id))


@shared_task(soft_time_limit=60, time_limit=120)
def forget_what_ifs_task() -> None:
    services.forget_what_ifs(now=timezone.now())

from uuid import UUID

from celery import shared_task

from apps.review import analysing, runner
from apps.review.models import StudyAnalysis, StudyFreeze


@shared_task(soft_time_limit=StudyAnalysis.SOFT_LIMIT_S, time_limit=StudyAnalysis.SOFT_LIMIT_S + 60)
def analyse_study_task(*, job_id: str) -> None:
    analysing.analyse_study(analysis_id=UUID(job_id))


@shared_task(soft_time_limit=StudyFreeze.SOFT_LIMIT_S, time_limit=StudyFreeze.SOFT_LIMIT_S + 60)
def freeze_study_task(*, job_id: str) -> None:
    runner.freeze(freeze_id=UUID(job_id))

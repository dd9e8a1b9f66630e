from uuid import UUID

from celery import shared_task

from apps.review import analysing
from apps.review.models import StudyAnalysis


@shared_task(soft_time_limit=StudyAnalysis.SOFT_LIMIT_S, time_limit=StudyAnalysis.SOFT_LIMIT_S + 60)
def analyse_study_task(*, job_id: str) -> None:
    analysing.analyse_study(analysis_id=UUID(job_id))

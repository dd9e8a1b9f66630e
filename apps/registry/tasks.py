"""Tasks of the queue `training`, which may take longer than the broker keeps a message for.

So a message is taken off the queue as the work begins (acks_late is off): if the worker is lost
then, the lease of the row runs out and the sweep sends another message.
"""

from uuid import UUID

from celery import shared_task

from apps.registry.evaluations import runner as evaluations
from apps.registry.gates import runner as gates
from apps.registry.models import Evaluation, GateCheck, Holdout, TrainingRun
from apps.registry.training import runner as training


@shared_task(
    acks_late=False,
    soft_time_limit=TrainingRun.SOFT_LIMIT_S,
    time_limit=TrainingRun.SOFT_LIMIT_S + 60,
)
def train_task(*, job_id: str) -> None:
    training.train(run_id=UUID(job_id))


@shared_task(
    acks_late=False,
    soft_time_limit=Holdout.SOFT_LIMIT_S,
    time_limit=Holdout.SOFT_LIMIT_S + 60,
)
def freeze_holdout_task(*, job_id: str) -> None:
    gates.freeze_holdout(holdout_id=UUID(job_id))


@shared_task(
    acks_late=False,
    soft_time_limit=GateCheck.SOFT_LIMIT_S,
    time_limit=GateCheck.SOFT_LIMIT_S + 60,
)
def check_gates_task(*, job_id: str) -> None:
    gates.check_gates(check_id=UUID(job_id))


@shared_task(
    acks_late=False,
    soft_time_limit=Evaluation.SOFT_LIMIT_S,
    time_limit=Evaluation.SOFT_LIMIT_S + 60,
)
def evaluate_task(*, job_id: str) -> None:
    evaluations.evaluate(evaluation_id=UUID(job_id))

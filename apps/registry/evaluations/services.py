"""What an administrator does with evaluations."""

from datetime import datetime

from django.db import transaction

from apps.accounts.models import User
from apps.errors import MirageError
from apps.jobs import queue
from apps.registry.gates.judging import held_to_judge
from apps.registry.models import Bundle, Evaluation, Holdout
from apps.registry.selectors import problem_of


class EvaluationError(MirageError):
    """A bundle cannot be evaluated now; the text says why and what to do."""


@transaction.atomic
def request_evaluation(
    *, bundle: Bundle, holdout: Holdout, is_quick: bool, requested_by: User, now: datetime
) -> Evaluation:
    """Queue the evaluation of a bundle on people set aside.

    Args:
        bundle: the version.
        holdout: the people.
        is_quick: hold it against logistic regression alone, and look at few pictures and
            explanations: the rest takes most of the time.
        requested_by: an administrator.
        now: the time.

    Raises:
        EvaluationError: its files are damaged, or it is being evaluated on these people already.
        HoldoutError: the holdout judges nobody.
    """
    held = held_to_judge(holdout)
    if problem := problem_of(bundle):
        raise EvaluationError(problem)
    _check_free(bundle, held)
    evaluation = Evaluation.objects.create(
        bundle=bundle,
        holdout=held,
        is_quick=is_quick,
        requested_by=requested_by,
        requested_at=now,
    )
    queue.send_on_commit(evaluation)
    return evaluation


def cancel_evaluation(*, evaluation: Evaluation) -> None:
    """Stop an evaluation.

    Raises:
        EvaluationError: it has ended.
    """
    if not Evaluation.objects.all().cancel(evaluation.pk):
        raise EvaluationError("The evaluation has already ended, so it cannot be cancelled.")


@transaction.atomic
def retry_evaluation(*, evaluation: Evaluation) -> None:
    """Queue a failed or cancelled evaluation again.

    Raises:
        EvaluationError: it is under way or done, or another one on the same people is.
        HoldoutError: the holdout judges nobody any more.
    """
    if not evaluation.is_final or evaluation.view:
        raise EvaluationError("The evaluation is under way or done, so it cannot be retried.")
    _check_free(evaluation.bundle, held_to_judge(evaluation.holdout))
    if Evaluation.objects.all().retry(evaluation.pk):
        queue.send_on_commit(evaluation)


def _check_free(bundle: Bundle, holdout: Holdout) -> None:
    """One at a time: the holdout's row is locked, so nobody asks for the same meanwhile."""
    same = Evaluation.objects.filter(bundle=bundle, holdout=holdout)
    if same.active().exists():
        raise EvaluationError(
            f"{bundle} is being evaluated on {holdout.name}. Its page shows how far that is."
        )

"""The challenger scores beside the champion. Nobody who asks for an answer ever sees its own."""

from collections.abc import Sequence
from uuid import UUID

from django.utils import timezone

from apps.inference import engine
from apps.inference.models import InferenceRun, Prediction, ShadowPrediction, ShadowRun
from apps.jobs import queue
from apps.jobs.attempt import Attempt, carry_out
from apps.patients.selectors import records_of
from apps.registry.selectors import inputs_of, shadowed_by

PATIENTS_AT_ONCE = 250


def begin(run: InferenceRun) -> ShadowRun | None:
    """Queue the shadow of a run that has just ended, if there is a challenger."""
    challenger = shadowed_by()
    if challenger is None or challenger.pk == run.bundle_id:
        return None
    shadow, is_new = ShadowRun.objects.get_or_create(
        run=run,
        bundle=challenger,
        defaults={"requested_by": run.requested_by, "requested_at": timezone.now()},
    )
    if is_new:
        queue.send_on_commit(shadow)
    return shadow


def execute(*, shadow_id: UUID) -> None:
    """Score what a run scored with the challenger; do nothing if another worker has it."""
    carry_out(ShadowRun, shadow_id, _score)


def _score(attempt: Attempt[ShadowRun]) -> None:
    """In chunks, each committed; a later attempt goes on where the last one stopped."""
    shadow = attempt.job()
    while due := _due(shadow):
        known = records_of(
            [each.patient_id for each in due],
            concepts=inputs_of(shadow.bundle),
            as_known_at=shadow.run.requested_at,
        )
        said = engine.predict(
            bundle=shadow.bundle, records=[known[each.patient_id] for each in due]
        )
        with attempt.writing() as held:
            still = set(  # a patient may have been deleted meanwhile
                Prediction.objects.select_for_update()
                .filter(pk__in=[each.pk for each in due])
                .values_list("pk", flat=True)
            )
            ShadowPrediction.objects.bulk_create(
                ShadowPrediction(
                    shadow=held,
                    prediction=prediction,
                    answer=answer.answer.value,
                    probability=answer.probability,
                )
                for prediction, answer in zip(due, said, strict=True)
                if prediction.pk in still
            )
    attempt.finish()


def _due(shadow: ShadowRun) -> Sequence[Prediction]:
    done = shadow.predictions.values("prediction")
    waiting = shadow.run.predictions.exclude(pk__in=done).order_by("pk")
    return list(waiting[:PATIENTS_AT_ONCE])

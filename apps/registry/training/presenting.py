"""A training as its page tells of it: the stages, what is left, what was resumed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import pairwise

from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.registry.models import TrainingRun
from apps.registry.training.child import SNAPSHOT
from apps.registry.training.curves import resumed_at
from apps.registry.training.form import help_of
from ml.card import gates_of
from ml.training_plan import STAGES, TrainingPlan

ALL_STAGES = (SNAPSHOT, *STAGES)
NAMES = {SNAPSHOT: "Snapshot", "read scans": "Scans", "pseudo-MRIs": "Pseudo-MRIs"}
LARGEST_SHARE = 1.25  # the right end of the picture of the swap ratio
DONE, ON, WAITING, SKIPPED, STOPPED = "done", "on", "wait", "skipped", "stopped"


@dataclass(frozen=True, slots=True)
class StageLine:
    """One place of the stage bar.

    Attributes:
        name: in words.
        state: `done`, `on`, `wait`, `skipped`, or `stopped` where the run ended.
        took: how long it took so far; empty if it has not begun.
        done, total: steps; 0 where nobody knows.
    """

    name: str
    state: str
    took: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class RunLine:
    """What the upper part of the page says; asked for again and again while the run is active."""

    run: TrainingRun
    stages: Sequence[StageLine]
    left: str
    ahead: Sequence[TrainingRun]
    has_worker: bool
    resumed: str
    saved: str


@dataclass(frozen=True, slots=True)
class Swap:
    """How much of the disease's effect on the ventricles the latent alone moves.

    Attributes:
        value: share; 1 is all of it.
        bound: what the gate asks for; None while there is no bundle.
        at, bound_at: where both lie in the picture.
    """

    value: float
    bound: float | None
    at: float
    bound_at: float


def swap_of(run: TrainingRun, figures: Iterable[tuple[str, str, float]]) -> Swap | None:
    """The swap ratio, if it was measured."""
    found = [value for _, name, value in figures if name.startswith("swap ratio")]
    if not found:
        return None
    gates = gates_of(run.bundle.card) if run.bundle else ()
    bound = next((gate.bound for gate in gates if gate.name == "swap_ratio"), None)
    return Swap(found[-1], bound, _place(found[-1]), _place(bound or 0.0))


def _place(share: float) -> float:
    return round(12 + 376 * min(max(share, 0.0), LARGEST_SHARE) / LARGEST_SHARE, 1)


def line_of(run: TrainingRun, now: datetime) -> RunLine:
    """Everything that changes while a training runs, but for the curves."""
    waits = run.state == JobState.QUEUED
    return RunLine(
        run=run,
        stages=stages_of(run, now),
        left=_left(run),
        ahead=list(TrainingRun.objects.ahead_of(run.pk)) if waits else [],
        has_worker=run.is_final or "training" not in unserved_queues(),
        resumed=_resumed(run),
        saved=_saved(run, now),
    )


def stages_of(run: TrainingRun, now: datetime) -> list[StageLine]:
    """The stage bar; how long each took is read off the events of the newest attempts."""
    begun = dict(run.events.filter(kind="stage").order_by("seq").values_list("stage", "told_at"))
    seconds = _seconds(run, now)
    here = ALL_STAGES.index(run.stage) if run.stage in ALL_STAGES else -1
    lines = []
    for place, stage in enumerate(ALL_STAGES):
        state = _state(run, place, here, begun=stage in begun)
        on = state in {ON, STOPPED}
        took = _span(seconds[stage]) if stage in seconds and state != SKIPPED else ""
        name = NAMES.get(stage, stage.capitalize())
        lines.append(StageLine(name, state, took, run.done if on else 0, run.total if on else 0))
    return lines


def _state(run: TrainingRun, place: int, here: int, *, begun: bool) -> str:
    if run.state == JobState.SUCCEEDED or place < here:
        return DONE if begun else SKIPPED
    if place > here:
        return WAITING
    return ON if run.state == JobState.RUNNING else STOPPED


def _seconds(run: TrainingRun, now: datetime) -> dict[str, float]:
    """Stage to seconds: from its begin to the next begin, or to the last thing that was told."""
    moments = list(
        run.events.filter(kind="stage").order_by("seq").values_list("attempt", "stage", "told_at")
    )
    found: dict[str, float] = {}
    ends = _last_told(run)
    for here, following in pairwise([*moments, None]):
        assert here is not None  # noqa: S101 - only the last is
        attempt, stage, began = here
        if following is not None and following[0] == attempt:
            end = following[2]
        elif run.state == JobState.RUNNING and attempt == run.attempt:
            end = now
        else:
            end = ends.get(attempt, began)
        found[stage] = found.get(stage, 0.0) + (end - began).total_seconds()
    return found


def _last_told(run: TrainingRun) -> dict[int, datetime]:
    rows = run.events.order_by("attempt", "-seq").distinct("attempt")
    return dict(rows.values_list("attempt", "told_at"))


def _left(run: TrainingRun) -> str:
    if run.state != JobState.RUNNING or run.remaining_s is None:
        return ""
    if run.remaining_s < 60:
        return "less than a minute in this stage"
    return f"about {round(run.remaining_s / 60):,} min in this stage"


def _resumed(run: TrainingRun) -> str:
    """A sentence about the newest resume; empty if there was none."""
    found = resumed_at(run, until=2**31 - 1)
    if not found:
        return ""
    newest = found[-1]
    where = f"{newest['stage']}, step {newest['step']:,}"
    return f"Attempt {newest['attempt']} went on at {newest['told_at']} from {where}."


def _saved(run: TrainingRun, now: datetime) -> str:
    if run.saved_at is None:
        return ""
    ago = now - run.saved_at
    if ago < timedelta(minutes=1):
        return f"{max(0, round(ago.total_seconds()))} s ago"
    return f"{run.saved_at:%-d %B %Y, %H:%M:%S}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} h" if hours else f"{minutes}:{rest:02d} min"


def about(seconds: float) -> str:
    """A rough time in words.

    >>> about(40), about(700), about(9000)
    ('under a minute', 'about 12 min', 'about 2.5 h')
    """
    if seconds < 60:
        return "under a minute"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def plan_rows(plan: Mapping[str, object]) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each choice of a plan."""
    told = help_of(TrainingPlan)
    rows = []
    for each in fields(TrainingPlan):
        value = plan.get(each.name, each.default)
        words = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        rows.append((each.name.replace("_", " ").capitalize(), words, told[each.name]))
    return rows

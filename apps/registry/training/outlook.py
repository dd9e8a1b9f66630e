"""What a training would be like, as far as can be said before it is queued."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from django.conf import settings

from apps.jobs.models import JobState
from apps.jobs.selectors import unserved_queues
from apps.patients.models import Cohort
from apps.registry.models import TrainingRun
from apps.registry.training.people import Count, count_of, too_few
from apps.registry.training.snapshot import SCAN_SPACING_MM
from ml.config import PROFILES
from ml.training_plan import TrainingPlan

FEWEST_PHANTOMS, MOST_PHANTOMS = 40, 5_000
BASIS_RUNS = 5
ROUGH_S = {"tiny": (8.0, 0.25), "4mm": (60.0, 2.2), "2mm": (480.0, 17.6), "1mm": (3840.0, 140.8)}
"""Profile to seconds, and seconds for each person, where none has been trained here yet.

Tiny was measured (15 s of one processor for 40 people); 300 people at 4 mm are the twelve minutes
that `benchmarks/bench_training.py --whole` holds it to; half the voxel's edge is taken as 8 times.
"""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known before a training is queued.

    Attributes:
        count: of the chosen cohorts; None for invented people.
        people: whom it would learn from or be tested on.
        problems: why it would be refused; empty if it may begin.
        seconds: how long it would take, roughly.
        basis: what that is known from.
        ahead: trainings that it would wait for.
        has_worker: whether a worker for trainings is alive.
    """

    count: Count | None
    people: int
    problems: tuple[str, ...]
    seconds: float
    basis: str
    ahead: tuple[TrainingRun, ...]
    has_worker: bool


def outlook_of(*, plan: TrainingPlan, cohorts: Sequence[Cohort], phantoms: int | None) -> Outlook:
    """What would be refused, how long it would take, and behind what it would wait."""
    count = None if phantoms is not None else count_of(cohorts)
    people = phantoms if count is None else count.usable
    device = settings.MIRAGE_TRAINING_DEVICE if plan.device == "auto" else plan.device
    seconds, basis = expected_s(plan, people or 0, device)
    return Outlook(
        count=count,
        people=people or 0,
        problems=tuple(_problems(plan, cohorts, phantoms, count)),
        seconds=seconds,
        basis=basis,
        ahead=tuple(TrainingRun.objects.active().filter(device=device).order_by("number")),
        has_worker="training" not in unserved_queues(),
    )


def _problems(
    plan: TrainingPlan, cohorts: Sequence[Cohort], phantoms: int | None, count: Count | None
) -> list[str]:
    found = []
    if plan.device == "cuda" and settings.MIRAGE_TRAINING_DEVICE != "cuda":
        found.append(
            "This installation has no worker with a GPU (MIRAGE_TRAINING_DEVICE is cpu). Choose "
            "the device auto or cpu."
        )
    if phantoms is not None:
        if not FEWEST_PHANTOMS <= phantoms <= MOST_PHANTOMS:
            found.append(
                f"{phantoms:,} invented people were asked for; from {FEWEST_PHANTOMS} to "
                f"{MOST_PHANTOMS:,} can be made."
            )
        return found
    if not cohorts:
        return [*found, "No cohort is chosen. Choose at least one, or invented people."]
    if PROFILES[plan.profile].spacing_mm < SCAN_SPACING_MM:
        found.append(
            f"Scans of cohorts are kept at {SCAN_SPACING_MM:g} mm, and the profile {plan.profile} "
            f"asks for finer ones. Choose a profile of {SCAN_SPACING_MM:g} mm or coarser."
        )
    assert count is not None  # noqa: S101 - there are no invented people
    if problem := too_few(count):
        found.append(problem)
    return found


def expected_s(plan: TrainingPlan, people: int, device: str) -> tuple[float, str]:
    """Seconds of a training of so many people, and what that is known from."""
    alike = TrainingRun.objects.filter(
        state=JobState.SUCCEEDED, plan__profile=plan.profile, plan__pictures=plan.pictures,
        device=device,
    )  # fmt: skip
    paces = [
        sum(run.bundle.card["training"]["seconds"].values()) / run.snapshot["people"]
        for run in alike.select_related("bundle")[:BASIS_RUNS]
        if run.bundle and run.snapshot.get("people")
    ]
    if paces:
        runs = "the last run" if len(paces) == 1 else f"the last {len(paces)} runs"
        return median(paces) * people, f"from {runs} of this profile here"
    fixed, each = ROUGH_S[plan.profile]
    share = 1.0 if plan.pictures else 0.25
    return share * (
        fixed + each * people
    ), "a rough guess: no run of this profile has ended here yet"

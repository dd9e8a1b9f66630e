"""Which volumes become the cases of a study; standard library only, and repeatable.

Arms are made alike: as many people with AD as without in each, and of each decade of age and sex as
near the same number as the people at hand allow. People whose diagnosis is not known fill what is
left open, and the balance says so.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from uuid import UUID

from apps.errors import MirageError
from apps.review.protocol import Arm, Protocol

ALGORITHM = "stratified draw, version 1"
WORDS = {
    Arm.REAL: ("real scans", "a preprocessed scan", "Preprocess more scans"),
    Arm.PSEUDO_MRI: ("pseudo-MRIs", "a decoded pseudo-MRI", "Decode more pseudo-MRIs"),
    Arm.RECONSTRUCTION: ("reconstructions", "a preprocessed scan", "Preprocess more scans"),
}


class DrawError(MirageError):
    """There are too few volumes; the text says of what, how many, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One volume that could become a case.

    Attributes:
        arm: the arm that it could stand for.
        patient: whose it is.
        source: key of the scan or pseudo-MRI.
        sha256: of its file.
        spacing_mm: of its grid.
        is_ad: recorded diagnosis; None if it is not known, or neither AD nor CN.
    """

    arm: Arm
    patient: UUID
    source: UUID
    sha256: str
    spacing_mm: float
    is_ad: bool | None
    age_years: float | None
    is_female: bool | None

    @property
    def stratum(self) -> tuple[int, int]:
        """Decade of age and sex; -1 where one is not known."""
        decade = -1 if self.age_years is None else int(self.age_years // 10)
        return decade, -1 if self.is_female is None else int(self.is_female)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A candidate that became a case."""

    number: int
    candidate: Candidate
    is_practice: bool


def draw(candidates: Iterable[Candidate], protocol: Protocol) -> list[Drawn]:
    """Cases for all arms, then practice cases from what is left; numbered in a shuffled order.

    Raises:
        DrawError: there are too few volumes for an arm or for practice.
    """
    rng = Random(f"{ALGORITHM}/{protocol.seed}")  # noqa: S311 - repeatable on purpose
    offered = [each for each in candidates if each.arm in protocol.arms]
    coarse = Counter(each.arm for each in offered if each.spacing_mm > protocol.spacing_mm)
    pool = Pool([e for e in offered if e.spacing_mm <= protocol.spacing_mm], protocol, rng)
    _check_enough(pool, coarse, protocol)
    chosen = _people_of_all_arms(pool, protocol) if protocol.same_people else _arms(pool, protocol)
    practice = _practice(pool, protocol)
    numbers = list(range(1, len(chosen) + len(practice) + 1))
    rng.shuffle(numbers)
    both = [(each, False) for each in chosen] + [(each, True) for each in practice]
    return sorted(
        (
            Drawn(number, candidate, is_practice)
            for number, (candidate, is_practice) in zip(numbers, both, strict=True)
        ),
        key=lambda drawn: drawn.number,
    )


class Pool:
    """The volumes that are still to be had; taking one takes the person out, too."""

    def __init__(self, candidates: Sequence[Candidate], protocol: Protocol, rng: Random) -> None:
        ordered = sorted(candidates, key=lambda each: (each.arm, str(each.patient)))
        rng.shuffle(ordered)
        self._left = {arm: [e for e in ordered if e.arm == arm] for arm in protocol.arms}
        arms = Counter(each.patient for each in ordered)
        self._arms_of = arms

    def of(self, arm: Arm) -> list[Candidate]:
        return self._left[arm]

    def take(self, candidate: Candidate) -> Candidate:
        """Take a volume, and with it its person, whom no other arm may have."""
        for arm, left in self._left.items():
            self._left[arm] = [each for each in left if each.patient != candidate.patient]
        return candidate

    def best(self, arm: Arm, like: Candidate | None, is_ad: bool | None) -> Candidate | None:
        """The volume of an arm that is most like another; people of this arm alone go first."""
        fitting = [each for each in self._left[arm] if each.is_ad is is_ad]
        if not fitting:
            return None
        return min(fitting, key=lambda e: (_unlike(e, like), self._arms_of[e.patient]))


def _unlike(one: Candidate, other: Candidate | None) -> tuple[int, int]:
    """How far two volumes are apart: in decades of age, then in sex."""
    if other is None:
        return (0, 0)
    (decade, sex), (other_decade, other_sex) = one.stratum, other.stratum
    return abs(decade - other_decade), int(sex != other_sex)


def _arms(pool: Pool, protocol: Protocol) -> list[Candidate]:
    """Case by case one volume for each arm, as like each other as can be."""
    chosen: list[Candidate] = []
    for is_ad in _wanted(protocol.cases_per_arm):
        like: Candidate | None = None
        scarce_first = sorted(
            protocol.arms, key=lambda arm: sum(e.is_ad is is_ad for e in pool.of(arm))
        )
        for arm in scarce_first:
            found = next(
                (
                    best
                    for wish in (is_ad, None, not is_ad)
                    if (best := pool.best(arm, like, wish)) is not None
                ),
                None,
            )
            if found is None:
                raise DrawError(
                    "There are enough volumes for each arm, but not enough different people: a "
                    "person gives a case to one arm alone. Allow the same people in all arms, ask "
                    "for fewer cases, or choose more cohorts."
                )
            like = like or found
            chosen.append(pool.take(found))
    return chosen


def _people_of_all_arms(pool: Pool, protocol: Protocol) -> list[Candidate]:
    """People who have a volume for every arm, all of which become cases."""
    by_person: dict[UUID, list[Candidate]] = {}
    for arm in protocol.arms:
        for each in pool.of(arm):
            by_person.setdefault(each.patient, []).append(each)
    whole = [volumes for volumes in by_person.values() if len(volumes) == len(protocol.arms)]
    chosen: list[Candidate] = []
    for is_ad in _wanted(protocol.cases_per_arm):
        order = {is_ad: 0, None: 1}
        volumes = min(whole, key=lambda v: order.get(v[0].is_ad, 2), default=None)
        if volumes is None:
            raise DrawError(
                f"{len(chosen) // len(protocol.arms)} people have a volume for every arm; "
                f"{protocol.cases_per_arm} are needed. Allow different people, ask for fewer "
                "cases, or choose more cohorts."
            )
        whole.remove(volumes)
        chosen += volumes
        pool.take(volumes[0])
    return chosen


def _practice(pool: Pool, protocol: Protocol) -> list[Candidate]:
    """From the arms in turn, of people who give no case."""
    chosen = []
    for place in range(protocol.practice_cases):
        turn = [*protocol.arms[place % len(protocol.arms) :], *protocol.arms]
        arm = next((arm for arm in turn if pool.of(arm)), None)
        if arm is None:
            raise DrawError(
                f"{place} of {protocol.practice_cases} practice cases could be drawn: nobody is "
                "left. Ask for fewer practice cases or choose more cohorts."
            )
        chosen.append(pool.take(pool.of(arm)[0]))
    return chosen


def _wanted(cases: int) -> list[bool]:
    """The diagnoses of an arm: AD and CN in turn."""
    return [place % 2 == 0 for place in range(cases)]


def _check_enough(pool: Pool, coarse: Mapping[Arm, int], protocol: Protocol) -> None:
    for arm in protocol.arms:
        have, words = len(pool.of(arm)), WORDS[arm]
        if have >= protocol.cases_per_arm:
            continue
        on_coarser = (
            f" {coarse[arm]} more are on a grid coarser than {protocol.spacing_mm:g} mm; the "
            "protocol can ask for that grid."
            if coarse.get(arm)
            else ""
        )
        raise DrawError(
            f"The arm of {words[0]} needs {protocol.cases_per_arm} cases; {have} people of the "
            f"chosen cohorts have {words[1]}.{on_coarser} {words[2]}, choose more cohorts, or ask "
            "for fewer cases an arm."
        )

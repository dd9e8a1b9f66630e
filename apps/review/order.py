"""In which order a reader meets the cases: permuted blocks, with repeats nobody announces.

Practice cases come first. Then blocks of one or two cases of each arm, shuffled, so that no arm is
met more than four times in a row and nobody can count what must come next. Repeats are put where
at least twenty presentations lie between a case and its repeat; a study too short for that gets
the widest gap that was found. The same seed, reader and cases give the same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from apps.errors import MirageError
from apps.review.protocol import LEAST_REPEAT_GAP, LONGEST_RUN

ALGORITHM = "permuted blocks with hidden repeats, version 1"
TRIES = 200  # at each gap, before a smaller one is tried


class OrderError(MirageError):
    """No order keeps the rules; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """One place in an order.

    Attributes:
        case: number of the case.
        repeats: index in the order where this reader met it first; None at the first time.
    """

    case: int
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """All presentations of one reader.

    Attributes:
        presentations: practice cases first.
        gap: fewest presentations between a case and its repeat; None without repeats.
    """

    presentations: tuple[Presentation, ...]
    gap: int | None


def order_of(
    arms: Mapping[int, str], *, practice: Mapping[int, str], repeats: int, seed: int, reader: int
) -> Order:
    """The order of one reader.

    Args:
        arms: case to its arm; all arms have the same number of cases.
        practice: the same of practice cases.
        repeats: how many cases are met twice.
        seed: of the protocol.
        reader: number of the reader.

    Raises:
        OrderError: the arms are not of one size, or no order keeps runs short.
    """
    rng = Random(f"{ALGORITHM}/{seed}/{reader}")  # noqa: S311 - repeatable on purpose
    first = sorted(practice)
    rng.shuffle(first)
    for gap in range(min(LEAST_REPEAT_GAP, max(len(arms) - 1, 0)), -1, -1):
        for _ in range(TRIES):
            body = _with_repeats(_blocks(arms, rng), arms, repeats, gap, rng)
            if body is None:
                continue
            known = {**practice, **arms}
            whole = (*map(Presentation, first), *_shifted(body, len(first)))
            if longest_run([known[each.case] for each in whole]) <= LONGEST_RUN:
                return Order(whole, gap if repeats else None)
    raise OrderError(
        f"No order of {len(arms)} cases with {repeats} repeats has runs of at most {LONGEST_RUN}. "
        "Ask for fewer repeats."
    )


def longest_run(arms: Sequence[str]) -> int:
    """How often the same arm comes after itself at most."""
    longest = run = 0
    last = None
    for arm in arms:
        run = run + 1 if arm == last else 1
        longest, last = max(longest, run), arm
    return longest


def _blocks(arms: Mapping[int, str], rng: Random) -> list[int]:
    """Every case once, in shuffled blocks that hold one or two cases of each arm."""
    waiting: dict[str, list[int]] = {}
    for case in sorted(arms):
        waiting.setdefault(arms[case], []).append(case)
    if len({len(cases) for cases in waiting.values()}) > 1:
        sizes = ", ".join(f"{len(cases)} {arm}" for arm, cases in sorted(waiting.items()))
        raise OrderError(f"The arms are not of one size ({sizes}). Draw the cases again.")
    for cases in waiting.values():
        rng.shuffle(cases)
    ordered: list[int] = []
    while any(waiting.values()):
        size = rng.choice((1, 2))
        block = [case for cases in waiting.values() for case in cases[:size]]
        waiting = {arm: cases[size:] for arm, cases in waiting.items()}
        rng.shuffle(block)
        ordered += block
    return ordered


def _with_repeats(
    base: Sequence[int], arms: Mapping[int, str], repeats: int, gap: int, rng: Random
) -> list[Presentation] | None:
    """The same with repeats put in, as many of each arm as can be; None if a place finds none."""
    total = len(base) + repeats
    if total - repeats < gap + 1 and repeats:
        return None
    places = sorted(rng.sample(range(gap + 1, total), repeats)) if repeats else []
    quota = _quota(sorted(set(arms.values())), repeats, rng)
    order: list[Presentation] = []
    met_at: dict[int, int] = {}
    waiting = iter(base)
    again: set[int] = set()
    for place in range(total):
        if place not in places:
            case = next(waiting)
            met_at[case] = place
            order.append(Presentation(case))
            continue
        due = [
            case
            for case, at in met_at.items()
            if place - at > gap and case not in again and quota[arms[case]]
        ]
        if not due:
            return None
        case = rng.choice(due)
        again.add(case)
        quota[arms[case]] -= 1
        order.append(Presentation(case, met_at[case]))
    return order


def _quota(arms: Sequence[str], repeats: int, rng: Random) -> dict[str, int]:
    each, left = divmod(repeats, len(arms))
    lucky = rng.sample(arms, left)
    return {arm: each + (arm in lucky) for arm in arms}


def _shifted(body: Sequence[Presentation], by: int) -> list[Presentation]:
    return [
        Presentation(each.case, None if each.repeats is None else each.repeats + by)
        for each in body
    ]

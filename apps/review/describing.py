"""What the readings look like, by counting: no test, no interval but that of a median.

Standard library only.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import comb
from statistics import median, quantiles
from typing import Any

from apps.review.protocol import UNSURE, Question
from apps.review.ratings_of import NUMERIC, Presentation

PLACES = 9  # at most so many stretches of the order
LEAST_IN_STRETCH = 5


def describe(
    presentations: Sequence[Presentation], questions: Sequence[Question], arms: Sequence[str]
) -> dict[str, Any]:
    """Counts of answers and of cues by arm, and how long readings took.

    Args:
        presentations: of the study proper, repeats included.
        questions: of the protocol.
        arms: those that have readings, the reference first.
    """
    first = [each for each in presentations if each.repeat_of is None]
    return {
        "answers": {
            question.name: {arm: _counts(first, question.name, arm) for arm in arms}
            for question in questions
            if question.kind in NUMERIC
        },
        "unsure": {
            question.name: {arm: _unsure(first, question.name, arm) for arm in arms}
            for question in questions
            if question.kind == "sign"
        },
        "cues": {
            question.name: _cues(first, question, arms)
            for question in questions
            if question.kind == "cues"
        },
        "seconds": _seconds(first, arms),
        "places": _places(presentations),
        "readings": {arm: sum(each.arm == arm for each in first) for arm in arms},
        "repeats": len(presentations) - len(first),
        "amended": sum(bool(answer.reasons) for each in presentations for answer in each.answers),
    }


def _answers(readings: Iterable[Presentation], question: str, arm: str) -> list[Any]:
    return [
        answer
        for each in readings
        if each.arm == arm
        for answer in each.answers
        if answer.question.name == question
    ]


def _counts(readings: Sequence[Presentation], question: str, arm: str) -> dict[str, int]:
    numbers = (answer.number for answer in _answers(readings, question, arm))
    counted = Counter(number for number in numbers if number is not None)
    return {f"{number:g}": counted[number] for number in sorted(counted)}


def _unsure(readings: Sequence[Presentation], question: str, arm: str) -> int:
    return sum(answer.given == UNSURE for answer in _answers(readings, question, arm))


def _cues(
    readings: Sequence[Presentation], question: Question, arms: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How often each cue was named about each arm."""
    named = {
        arm: Counter(cue for a in _answers(readings, question.name, arm) for cue in a.given or ())
        for arm in arms
    }
    return {cue: {arm: named[arm][cue] for arm in arms} for cue in question.choices}


def _seconds(readings: Sequence[Presentation], arms: Sequence[str]) -> list[dict[str, Any]]:
    """Of each reader and arm: quartiles and tenths of the seconds a case."""
    found = []
    for reader in sorted({each.reader for each in readings}):
        for arm in arms:
            mine = sorted(
                each.active_s
                for each in readings
                if each.reader == reader and each.arm == arm and each.active_s is not None
            )
            if len(mine) >= LEAST_IN_STRETCH:
                tenths = quantiles(mine, n=10, method="inclusive")
                low, middle, high = quantiles(mine, n=4, method="inclusive")
                found.append(
                    {
                        "reader": reader,
                        "arm": arm,
                        "n": len(mine),
                        "p10": tenths[0],
                        "q1": low,
                        "median": middle,
                        "q3": high,
                        "p90": tenths[-1],
                    }
                )
    return found


def _places(presentations: Sequence[Presentation]) -> list[dict[str, Any]]:
    """Median seconds of all readers along the order, in stretches of equal length."""
    known = [(each.position, each.active_s) for each in presentations if each.active_s is not None]
    if not known:
        return []
    last = max(place for place, _ in known)
    begin = min(place for place, _ in known)
    stretches = min(PLACES, max(1, len(known) // (2 * LEAST_IN_STRETCH)))
    found = []
    for n in range(stretches):
        low = begin + n * (last - begin + 1) // stretches
        high = begin + (n + 1) * (last - begin + 1) // stretches - 1
        mine = sorted(seconds for place, seconds in known if low <= place <= high)
        if len(mine) >= LEAST_IN_STRETCH:
            bounds = median_interval(mine)
            found.append(
                {
                    "from": low,
                    "to": high,
                    "n": len(mine),
                    "median": median(mine),
                    "low": bounds[0] if bounds else None,
                    "high": bounds[1] if bounds else None,
                }
            )
    return found


def median_interval(ordered: Sequence[float]) -> tuple[float, float] | None:
    """The distribution-free 95 % interval of a median; None where there are fewer than 6.

    >>> median_interval(list(range(1, 11)))
    (2, 9)
    >>> median_interval([1, 2, 3, 4, 5]) is None
    True
    """
    n = len(ordered)
    tail, rank = 0.0, 0
    while rank <= n // 2 and tail + comb(n, rank) / 2**n <= 0.025:
        tail += comb(n, rank) / 2**n
        rank += 1
    return (ordered[rank - 1], ordered[n - rank]) if rank else None

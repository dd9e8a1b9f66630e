"""The ratings as an input file of iMRMC, the reader-study software of the FDA.

Format: free text with the sizes N0, N1, NR and NM, then 'BEGIN DATA:', then rows 'reader, case,
modality, score' without spaces; reader -1 and modality 0 tell the truth of a case, 0 or 1.
"""

from collections.abc import Iterable, Sequence

from apps.errors import MirageError
from apps.review.protocol import UNSURE
from apps.review.ratings_of import Presentation

LEAST = 2  # cases of each truth
Score = tuple[int, int, str, float]  # reader, case, modality, score


class ImrmcError(MirageError):
    """There is no such file for this study; the text says what it needs."""


def by_arm(
    presentations: Sequence[Presentation], *, reference: str, compared: str, head: Sequence[str]
) -> str:
    """Can the arms be told apart by each question? Truth 1 is the compared arm.

    Each question with a number is a modality: an area under the curve of .5 means that its
    answers do not tell the arms apart.

    Raises:
        ImrmcError: an arm has fewer than two cases.
    """
    first = [p for p in presentations if p.repeat_of is None and p.arm in (reference, compared)]
    scores = [
        (p.reader, p.case, answer.question.name, answer.number)
        for p in first
        for answer in p.answers
        if answer.number is not None
    ]
    truth = {p.case: int(p.arm == compared) for p in first}
    return _file(
        truth,
        scores,
        [*head, f"Truth 1: arm {compared}. Truth 0: arm {reference}. Modality: the question."],
        f"two cases of arm {reference!r} and two of arm {compared!r}",
    )


def by_diagnosis(presentations: Sequence[Presentation], *, head: Sequence[str]) -> str:
    """Is the disease seen as well in each arm? Truth 1 is a recorded diagnosis of AD.

    The score is how many signs of disease were seen; "unsure" counts one half. Cases without a
    recorded diagnosis of AD or CN are left out.

    Raises:
        ImrmcError: the protocol asks for no sign, or too few diagnoses are recorded.
    """
    first = [p for p in presentations if p.repeat_of is None and p.is_ad is not None]
    scores = []
    for p in first:
        signs = [a.given for a in p.answers if a.question.kind == "sign" and a.given is not None]
        if signs:
            seen = sum(0.5 if sign == UNSURE else float(sign) for sign in signs)
            scores.append((p.reader, p.case, p.arm, seen))
    truth = {p.case: int(bool(p.is_ad)) for p in first}
    return _file(
        truth,
        scores,
        [
            *head,
            "Truth 1: recorded diagnosis AD. Truth 0: CN. Modality: the arm. Score: signs of "
            "disease seen; unsure counts one half.",
        ],
        "two cases with a recorded diagnosis of AD and two of CN, and a question about a sign",
    )


def _file(truth: dict[int, int], scores: Iterable[Score], head: Sequence[str], needs: str) -> str:
    scores = sorted(scores)
    scored = {case for _, case, _, _ in scores}
    known = {case: is_one for case, is_one in sorted(truth.items()) if case in scored}
    ones = sum(known.values())
    if min(ones, len(known) - ones) < LEAST:
        raise ImrmcError(
            f"This file needs {needs}, with readings. There are {len(known) - ones} cases of "
            f"truth 0 and {ones} of truth 1."
        )
    sizes = {
        "N0": len(known) - ones,
        "N1": ones,
        "NR": len({reader for reader, *_ in scores}),
        "NM": len({modality for _, _, modality, _ in scores}),
    }
    lines = [line.replace("\n", " ") for line in head]
    lines += [f"{name}: {size}" for name, size in sizes.items()]
    lines += ["", "BEGIN DATA:"]
    lines += [f"-1,case{case},0,{is_one}" for case, is_one in known.items()]
    lines += [f"reader{r},case{c},{modality},{score:g}" for r, c, modality, score in scores]
    return "\n".join(lines) + "\n"

"""All statistics that the protocol of a reader study asks for, from one table of ratings.

Every figure is an `Estimate` with its interval, or says why it has none; `asdict` of the result is
what pages, reports and exports show. The same ratings, protocol and seed give the same figures,
in whatever order the rows come.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from apps.review.statistics.agreement import agreement
from apps.review.statistics.bootstrap import (
    Progress,
    Resampling,
    few_readers,
    no_progress,
    resample,
)
from apps.review.statistics.detection import Detection, detect
from apps.review.statistics.differences import YES_NO, Comparison, Scale, compare_arms
from apps.review.statistics.estimate import Estimate
from apps.review.statistics.intraclass import intraclass_correlations
from apps.review.statistics.ratings import Ratings, RatingsError, Table
from apps.review.statistics.reading_time import compare_times, trend_by_position

FEW_CASES = 20  # an arm; below, even an interval over cases is rough
EVERYBODY = "all"  # agreement over the cases of all arms


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a protocol.

    Attributes:
        name: as in the ratings.
        kind: "yes_no", "scale" (steps in order), or "guess" (real is 0, synthetic is 1).
        categories: all answers that can be given, as numbers.
        margin: differences of arms within it do not matter; None if equivalence is not asked.
    """

    name: str
    kind: Literal["yes_no", "scale", "guess"]
    categories: tuple[float, ...] = (0.0, 1.0)
    margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionStatistics:
    """What the answers to one question say.

    Attributes:
        question: which.
        comparisons: reference against each compared arm, by the compared arm.
        agreement: between readers, by arm (and "all") and by name of the measure.
        repeats: of readers with themselves, by name of the measure.
        trend: change of the answer from one place in the order to the next.
    """

    question: Question
    comparisons: dict[str, Comparison]
    agreement: dict[str, dict[str, Estimate]]
    repeats: dict[str, Estimate]
    trend: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatistics:
    """All figures of one study.

    Attributes:
        questions: by name.
        detection: for each "guess", against each compared arm: `detection[question][arm]`.
        times: seconds a case, reference against each compared arm.
        time_trend: seconds from one place in the order to the next; None if no times are known.
        readers, cases, ratings: how many; cases by arm, ratings without repeats.
        replicates, seed, alpha: of the bootstrap and the tests.
        notes: in what respect the study is too small.
    """

    questions: dict[str, QuestionStatistics]
    detection: dict[str, dict[str, Detection]]
    times: dict[str, Comparison]
    time_trend: Estimate | None
    readers: int
    cases: dict[str, int]
    ratings: int
    replicates: int
    seed: int
    alpha: float
    notes: tuple[str, ...]


def analyse(
    ratings: Ratings,
    questions: Sequence[Question],
    *,
    reference: str,
    compared: Sequence[str],
    replicates: int = 2000,
    seed: int = 0,
    alpha: float = 0.05,
    progress: Progress = no_progress,
) -> StudyStatistics:
    """Compute all statistics of a study.

    Args:
        ratings: first answers and repeats, practice cases left out.
        questions: those of the protocol that take a number.
        reference: the arm that others are held against, real scans.
        compared: the other arms.
        replicates, seed: of the bootstrap over readers and cases; one draw for all questions.
        alpha: level of the equivalence tests.
        progress: told the share that is done, from 0 to 1, never less than before.

    Raises:
        RatingsError: a question or an arm without any rating, or an answer off its scale.
    """
    _check(ratings, questions, (reference, *compared))
    tables = {question.name: ratings.table(question.name) for question in questions}
    any_table = next(iter(tables.values()))
    resampling = resample(len(any_table.readers), any_table.arms, replicates=replicates, seed=seed)
    guesses = [question for question in questions if question.kind == "guess"]
    next_part = _parts(len(compared) * (len(questions) + len(guesses) + 1), progress)
    of_questions = {
        question.name: _one_question(
            ratings,
            question,
            tables[question.name],
            (reference, *compared),
            resampling,
            alpha,
            next_part,
        )
        for question in questions
    }
    detection = {
        question.name: {
            arm: detect(
                tables[question.name], reference, arm, resampling=resampling, progress=next_part()
            )
            for arm in compared
        }
        for question in guesses
    }
    times = ratings.times()
    comparisons = {
        arm: compare_times(times, reference, arm, resampling=resampling, progress=next_part())
        for arm in compared
    }
    progress(1.0)
    first = ratings.of(questions[0].name)
    known = not np.isnan(ratings.seconds).all()
    return StudyStatistics(
        questions=of_questions,
        detection=detection,
        times=comparisons,
        time_trend=trend_by_position(first, lambda r: r.seconds) if known else None,
        readers=len(any_table.readers),
        cases={arm: int((any_table.arms == arm).sum()) for arm in (reference, *compared)},
        ratings=sum(table.count() for table in tables.values()),
        replicates=replicates,
        seed=seed,
        alpha=alpha,
        notes=_notes(any_table),
    )


def _parts(count: int, progress: Progress) -> Callable[[], Progress]:
    """For each part of the work in turn, what tells how far the whole is."""
    begun = itertools.count()

    def next_part() -> Progress:
        before = next(begun)
        return lambda share: progress((before + share) / count)

    return next_part


def _one_question(
    ratings: Ratings,
    question: Question,
    table: Table,
    arms: tuple[str, ...],
    resampling: Resampling,
    alpha: float,
    next_part: Callable[[], Progress],
) -> QuestionStatistics:
    reference, *compared = arms
    graded = question.kind == "scale"
    scale = YES_NO
    if graded:
        scale = Scale(least=min(question.categories), most=max(question.categories))
    between = {EVERYBODY: table, **{arm: table.of_arm(arm) for arm in arms}}
    measures = {}
    for arm, part in between.items():
        measures[arm] = agreement(part.values, question.categories, graded=graded)
        if graded:
            measures[arm] |= intraclass_correlations(part.values)
    return QuestionStatistics(
        question=question,
        comparisons={
            arm: compare_arms(
                table,
                reference,
                arm,
                scale=scale,
                resampling=resampling,
                margin=question.margin,
                alpha=alpha,
                progress=next_part(),
            )
            for arm in compared
        },
        agreement=measures,
        repeats=agreement(
            ratings.repeats(question.name).answers, question.categories, graded=graded, of="pairs"
        ),
        trend=trend_by_position(ratings.of(question.name), lambda r: r.answer),
    )


def _check(ratings: Ratings, questions: Sequence[Question], arms: tuple[str, ...]) -> None:
    if not questions:
        raise RatingsError("The protocol has no question whose answer is a number.")
    for question in questions:
        answers = ratings.answer[ratings.question == question.name]
        if np.isnan(answers).all():
            raise RatingsError(
                f"Nobody has answered {question.name!r} yet, so there is nothing to compute. Wait "
                "for readings, or leave the question out."
            )
        strange = answers[~np.isnan(answers) & ~np.isin(answers, question.categories)]
        if len(strange):
            raise RatingsError(
                f"{strange[0]:g} is no answer to {question.name!r}; its answers are "
                f"{', '.join(f'{c:g}' for c in question.categories)}."
            )
    known = set(ratings.arm.tolist())
    for arm in arms:
        if arm not in known:
            raise RatingsError(
                f"There are no readings in arm {arm!r}; the arms are {', '.join(sorted(known))}."
            )


def _notes(table: Table) -> tuple[str, ...]:
    arms, counts = np.unique(table.arms, return_counts=True)
    few = [
        f"{count} cases in arm {str(arm)!r}: below {FEW_CASES}, intervals over cases are rough."
        for arm, count in zip(arms, counts, strict=True)
        if count < FEW_CASES
    ]
    readers = few_readers(len(table.readers))
    return (*([readers] if readers else []), *few)

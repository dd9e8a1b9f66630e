"""The ratings of a reader study as one tidy table, and the views that estimators take."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from apps.errors import MirageError

NOT_A_REPEAT = -1
Values = Float[np.ndarray, "cases readers"]


class RatingsError(MirageError):
    """The ratings do not make up a study."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """First readings of all cases by all readers; both in the order of their names.

    Attributes:
        values: answers, NaN where there is none.
        cases, readers: names of the rows and of the columns.
        arms: the arm of each case.
    """

    values: Values
    cases: Shaped[np.ndarray, " cases"]
    readers: Shaped[np.ndarray, " readers"]
    arms: Shaped[np.ndarray, " cases"]

    def of_arm(self, *arms: str) -> "Table":
        """The cases of some arms alone."""
        kept = np.isin(self.arms, arms)
        return Table(
            values=self.values[kept],
            cases=self.cases[kept],
            readers=self.readers,
            arms=self.arms[kept],
        )

    def count(self) -> int:
        """How many answers there are."""
        return int((~np.isnan(self.values)).sum())


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeats:
    """Answers of readers who met a case twice without being told.

    Attributes:
        readers, cases: who met what.
        answers: first and second answer; NaN where there is none.
    """

    readers: Shaped[np.ndarray, " pairs"]
    cases: Shaped[np.ndarray, " pairs"]
    answers: Float[np.ndarray, "pairs 2"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Ratings:
    """One row for each answer to each question at each presentation of a case to a reader.

    Attributes:
        reader, case, arm, question: names.
        answer: a number; NaN if the question was left out. Yes and "synthetic" are 1, no and "real"
            are 0.
        position: place of the presentation in the reader's order, from 1.
        seconds: active time of the presentation, the same in all its rows; NaN if unknown.
        repeat_of: position at which this reader met the case first; -1 if this is the first time.

    Raises:
        RatingsError: columns of different lengths, a case in two arms, one reader's first answer
            to one question about one case twice, or a repeat of nothing.
    """

    reader: Shaped[np.ndarray, " rows"]
    case: Shaped[np.ndarray, " rows"]
    arm: Shaped[np.ndarray, " rows"]
    question: Shaped[np.ndarray, " rows"]
    answer: Float[np.ndarray, " rows"]
    position: Int[np.ndarray, " rows"]
    seconds: Float[np.ndarray, " rows"]
    repeat_of: Int[np.ndarray, " rows"]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(lengths.values())) > 1:
            raise RatingsError(
                f"The columns of the ratings differ in length: {lengths}. Give one value a row."
            )
        pairs = np.unique(np.stack([self.case, self.arm]).astype(str), axis=1)
        names, counts = np.unique(pairs[0], return_counts=True)
        if (counts > 1).any():
            raise RatingsError(
                f"Case {names[counts > 1][0]} is in {counts.max()} arms; a case has one arm."
            )
        self._check_presentations()

    def _check_presentations(self) -> None:
        rows = list(zip(self.reader, self.question, self.case, self.position, strict=True))
        first = self.repeat_of == NOT_A_REPEAT
        seen: dict[tuple[str, str, str], int] = {}
        for (reader, question, case, position), is_first in zip(rows, first, strict=True):
            if not is_first:
                continue
            if (reader, question, case) in seen:
                raise RatingsError(
                    f"Reader {reader} has two first answers to {question!r} about case {case}, "
                    f"at positions {seen[reader, question, case]} and {position}. Mark one as a "
                    "repeat."
                )
            seen[reader, question, case] = int(position)
        for (reader, question, case, position), of in zip(rows, self.repeat_of, strict=True):
            if of != NOT_A_REPEAT and seen.get((reader, question, case)) != of:
                raise RatingsError(
                    f"Position {position} of reader {reader} is said to repeat position {of}, "
                    f"where this reader did not meet case {case} with question {question!r}."
                )

    @classmethod
    def from_rows(
        cls, rows: Sequence[tuple[str, str, str, str, float | None, int, float | None, int | None]]
    ) -> "Ratings":
        """The same from tuples in the order of the attributes; None where a number is missing."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * 8
        reader, case, arm, question, answer, position, seconds, repeat_of = columns
        return cls(
            reader=np.array(reader, dtype=str),
            case=np.array(case, dtype=str),
            arm=np.array(arm, dtype=str),
            question=np.array(question, dtype=str),
            answer=np.array([np.nan if a is None else a for a in answer], dtype=float),
            position=np.array(position, dtype=int),
            seconds=np.array([np.nan if s is None else s for s in seconds], dtype=float),
            repeat_of=np.array([NOT_A_REPEAT if r is None else r for r in repeat_of], dtype=int),
        )

    def _where(self, rows: Shaped[np.ndarray, " rows"]) -> "Ratings":
        return Ratings(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def of(self, question: str) -> "Ratings":
        """The answers to one question."""
        return self._where(self.question == question)

    def table(self, question: str) -> Table:
        """First answers to a question; a reader or case without any stays, as a line of NaN."""
        return self._table(self.answer, (self.question == question) & self._first())

    def times(self) -> Table:
        """Seconds that each reader took for the first reading of each case."""
        return self._table(self.seconds, self._first())

    def _first(self) -> Shaped[np.ndarray, " rows"]:
        return np.asarray(self.repeat_of == NOT_A_REPEAT)

    def _table(
        self, column: Float[np.ndarray, " rows"], rows: Shaped[np.ndarray, " rows"]
    ) -> Table:
        cases, first_row, case_of = np.unique(self.case, return_index=True, return_inverse=True)
        readers, reader_of = np.unique(self.reader, return_inverse=True)
        values = np.full((len(cases), len(readers)), np.nan)
        values[case_of[rows], reader_of[rows]] = column[rows]
        return Table(values=values, cases=cases, readers=readers, arms=self.arm[first_row])

    def repeats(self, question: str) -> Repeats:
        """First and second answers of one reader to one case, ordered by reader, case, position."""
        mine = self.of(question)
        first = {
            (r, p): a
            for r, p, a, of in zip(
                mine.reader, mine.position, mine.answer, mine.repeat_of, strict=True
            )
            if of == NOT_A_REPEAT
        }
        again = np.flatnonzero(mine.repeat_of != NOT_A_REPEAT)
        again = again[np.lexsort((mine.position[again], mine.case[again], mine.reader[again]))]
        answers = [[first[mine.reader[i], mine.repeat_of[i]], mine.answer[i]] for i in again]
        return Repeats(
            readers=mine.reader[again],
            cases=mine.case[again],
            answers=np.array(answers, dtype=float).reshape(-1, 2),
        )

"""The tidy table refuses what is no study, and its views do not depend on the order of rows."""

import numpy as np
import pytest

from apps.errors import MirageError
from apps.review.statistics.estimate import Estimate, undefined
from apps.review.statistics.ratings import Ratings, RatingsError
from tests.review.statistics.study import invented

ROW = ("R1", "C1", "real", "realism", 1.0, 1, 40.0, None)


def test_the_views_are_those_of_a_small_study():
    ratings = Ratings.from_rows(
        [
            ("R2", "C1", "real", "realism", 0.0, 2, 30.0, None),
            ROW,
            ("R1", "C2", "pseudo-MRI", "realism", None, 2, 20.0, None),
            ("R1", "C1", "real", "realism", 0.0, 3, 10.0, 1),
        ]
    )
    table = ratings.table("realism")
    assert table.cases.tolist() == ["C1", "C2"]
    assert table.readers.tolist() == ["R1", "R2"]
    assert table.arms.tolist() == ["real", "pseudo-MRI"]
    assert np.array_equal(table.values, [[1, 0], [np.nan, np.nan]], equal_nan=True)
    assert table.count() == 2
    assert table.of_arm("pseudo-MRI").values.shape == (1, 2)
    times = ratings.times().values
    assert np.array_equal(times, [[40, 30], [20, np.nan]], equal_nan=True)
    repeats = ratings.repeats("realism")
    assert (repeats.readers.tolist(), repeats.cases.tolist()) == (["R1"], ["C1"])
    assert repeats.answers.tolist() == [[1, 0]]


def test_the_order_of_rows_is_irrelevant():
    ratings = invented(seed=3)
    order = np.random.default_rng(0).permutation(len(ratings.answer))
    names = ratings.__dataclass_fields__
    shuffled = Ratings(**{name: getattr(ratings, name)[order] for name in names})
    for view in (lambda r: r.table("usability").values, lambda r: r.times().values):
        assert np.array_equal(view(ratings), view(shuffled), equal_nan=True)
    one, two = ratings.repeats("usability"), shuffled.repeats("usability")
    assert np.array_equal(one.answers, two.answers)
    assert len(one.answers) == 4 * 5


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("R2", "C1", "pseudo-MRI", "realism", 1.0, 1, 4.0, None), "Case C1 is in 2 arms"),
        (("R1", "C1", "real", "realism", 0.0, 7, 4.0, None), "positions 1 and 7"),
        (("R1", "C1", "real", "realism", 0.0, 7, 4.0, 2), "repeat position 2"),
        (("R1", "C2", "real", "realism", 0.0, 7, 4.0, 1), "did not meet case C2"),
    ],
)
def test_what_is_no_study_is_refused_with_the_reason(more, says):
    with pytest.raises(RatingsError, match=says):
        Ratings.from_rows([ROW, more])
    assert issubclass(RatingsError, MirageError)


def test_columns_of_different_length_are_refused():
    one = Ratings.from_rows([ROW])
    columns = {name: getattr(one, name) for name in one.__dataclass_fields__}
    with pytest.raises(RatingsError, match="differ in length"):
        Ratings(**columns | {"answer": np.array([1.0, 0.0])})


def test_an_undefined_estimate_is_none_with_a_reason_and_never_not_a_number():
    assert undefined("Nobody answered.", n=0, of="ratings").value is None
    with pytest.raises(ValueError, match="None with a reason"):
        Estimate(value=float("nan"), n=3, of="cases", note="x")
    with pytest.raises(ValueError, match="says why"):
        Estimate(value=None, n=3, of="cases")
    with pytest.raises(ValueError, match="says why"):
        Estimate(value=0.5, n=3, of="cases")

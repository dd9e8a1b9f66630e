"""A bundle on trial: what is loaded of it, who judges it, and parts that have nothing to tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ml.card import BundleCard
from ml.data.cohort import Cohort, CohortError
from ml.data.mri import VolumeError
from ml.evaluation.judged_people import JudgedPeople
from ml.evaluation.metrics import OneClassError
from ml.evaluation.tables import mean_of as mean_of_figures
from ml.mirage import Mirage, PseudoMRIDecoder
from ml.patient_graph import FindingScaler
from ml.pseudo_mri_reader import PseudoMRIReader
from ml.text_encoder import TextEncoderError

Progress = Callable[[str, int, int], None]
Figures = dict[str, Any]
NOT_TOLD = "not_told"
LEAST = 5
"""Values below which no interval of their mean is given."""


class NotToldError(ValueError):
    """A part of a report cannot be computed; the text says why."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A loaded bundle, its judges, and what was said of them already.

    Attributes:
        card, mirage, drawer: of the bundle.
        reader: its CNNs; None in a bundle that is older than these.
        cohort: that the judges are of.
        people: the judges.
        seed: of everything that is drawn at random.
    """

    card: BundleCard
    mirage: Mirage
    drawer: PseudoMRIDecoder
    reader: PseudoMRIReader | None
    cohort: Cohort
    people: JudgedPeople
    seed: int

    def cnn(self) -> PseudoMRIReader:
        """The reader of the bundle.

        Raises:
            NotToldError: it has none.
        """
        if self.reader is None:
            raise NotToldError("the bundle holds no CNN: it was made before there was one")
        return self.reader


def copy_of(mirage: Mirage) -> Mirage:
    """The same model with weights of its own, to be spoiled."""
    other = Mirage(FindingScaler(mirage.scaler.concepts), mirage.profile)
    other.load_state_dict(mirage.state_dict())
    return other.eval()


def told(part: Callable[[], Figures]) -> Figures:
    """The figures of a part of a report, or under `not_told` why there are none.

    A part that this cohort cannot answer must not cost the others. Only what is known to go wrong
    with a cohort is caught.
    """
    try:
        return part()
    except VolumeError as error:
        return unusable(error)
    except (NotToldError, OneClassError, CohortError, TextEncoderError) as error:
        return {NOT_TOLD: str(error)}


def unusable(error: VolumeError) -> Figures:
    """Why nothing is told of scans; the file is not named, because its name is a person's."""
    return {
        NOT_TOLD: f"a scan of the cohort cannot be used ({type(error).__name__}): all must be "
        "readable and on the bundle's grid"
    }


def is_told(figures: Figures) -> bool:
    """Whether a part has figures."""
    return NOT_TOLD not in figures


def mean_of(values: Sequence[float] | Float[np.ndarray, " people"]) -> Figures | None:
    """Mean with Student's 95 % interval as JSON; None of fewer than five values.

    Example:
        >>> mean_of([1.0, 2.0, 3.0, 4.0, 5.0])["value"]
        3.0
        >>> mean_of([1.0, 2.0])
    """
    if len(values) < LEAST:
        return None
    return mean_of_figures([{"value": float(each), "n": 1} for each in values])

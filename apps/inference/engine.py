"""The one doorway from the web application to `ml`. Only workers go through it.

torch is loaded inside the functions, in the worker, so that a web process never holds it.
"""

import logging
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import DatabaseError

from apps.errors import MirageError
from apps.registry import selectors as registry
from apps.registry.models import Bundle
from ml.records import PatientRecord, Prediction, PseudoMRIReading

if TYPE_CHECKING:
    from ml.predictor import Predictor

logger = logging.getLogger(__name__)
KEPT = 2  # the champion, and the one before it that runs under way still use
_loaded: "OrderedDict[str, Predictor]" = OrderedDict()


class BundleUnusableError(MirageError):
    """The files of a bundle are missing or not those that were registered."""


def predict(*, bundle: Bundle, records: Sequence[PatientRecord]) -> list[Prediction]:
    """Predict for records, in their order."""
    return _predictor(bundle).predict(records)


def decode(*, bundle: Bundle, record: PatientRecord, out: Path) -> PseudoMRIReading:
    """Write the pseudo-MRI of a record as NIfTI, and give back what is read off it."""
    return _predictor(bundle).decode(record, out)


def volume_errors() -> dict[str, float]:
    """Region to the mean absolute error in ml of a volume that `decode` reads, where known."""
    from ml.data.structures import CALIBRATION

    return {name: error_ml for name, (_, _, error_ml) in CALIBRATION.items()}


def donors(*, bundle: Bundle, record: PatientRecord) -> dict[str, Any]:
    """Whose skip features the picture is made with, as figures over at least five; or nothing."""
    found = _predictor(bundle).donors(record)
    return asdict(found) if found else {}


def measure(*, bundle: Bundle, record: PatientRecord) -> dict[str, float]:
    """Regional volumes of the pseudo-MRI of a record, in ml; the picture is thrown away."""
    with tempfile.TemporaryDirectory(prefix="what-if-") as folder:
        reading = _predictor(bundle).decode(record, Path(folder) / "volume.nii")
    return dict(reading.volumes_ml)


def explain(*, bundle: Bundle, record: PatientRecord) -> dict[str, Any]:
    """What moved the probability of a record, and how its findings lead to the disease, as JSON.

    The paths are those of the default graph; `own_graph` says whether the bundle was trained on it.
    """
    from ml.disease_paths import disease_paths

    explanation = _predictor(bundle).explain(record)
    training = bundle.card["training"]
    graph = training["settings"]["graph"]
    found = disease_paths(
        tuple(bundle.card["schema"]), graph["children"], bool(graph.get("diagnoses"))
    )
    return {
        **asdict(explanation),
        "passed": explanation.passed,
        "deletions": [{**asdict(each), "passed": each.passed} for each in explanation.deletions],
        "paths": {
            effect.concept: asdict(found.paths[effect.concept])
            for effect in explanation.effects
            if effect.concept in found.paths
        },
        "own_graph": training["graph"]["nodes"] == found.graph_nodes,
        "spans_are_percentiles": "inputs" in training,
    }


def draw_mean(*, bundle: Bundle, out: Path) -> None:
    """Write the picture of a bundle's mean latent as NIfTI: nobody's brain, to compare with."""
    from ml.mean_brain import write_mean_brain

    write_mean_brain(registry.folder_of(bundle), out)


def warm_up(*, decoding: bool) -> None:
    """Load the champion before the first job comes. Without one there is nothing to do yet.

    Args:
        decoding: whether pseudo-MRIs will be decoded here, too.
    """
    try:
        state = registry.champion_state()
    except DatabaseError:
        logger.warning("The database is away; the bundle is loaded with the first job")
        return
    if state.bundle is None or state.problem:
        logger.warning("No bundle to load: %s", state.problem)
        return
    predictor = _predictor(state.bundle)
    if decoding:
        predictor.prepare_decoding()


def _predictor(bundle: Bundle) -> "Predictor":
    """The predictor of a bundle, loaded and verified once; the last two are kept."""
    if bundle.fingerprint in _loaded:
        _loaded.move_to_end(bundle.fingerprint)
        return _loaded[bundle.fingerprint]
    if problem := registry.problem_of(bundle):
        raise BundleUnusableError(problem)
    import torch

    from ml.predictor import Predictor

    torch.set_num_threads(settings.MIRAGE_TORCH_THREADS)
    _loaded[bundle.fingerprint] = Predictor.load(registry.folder_of(bundle))
    while len(_loaded) > KEPT:
        _loaded.popitem(last=False)
    return _loaded[bundle.fingerprint]

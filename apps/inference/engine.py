"""The one doorway from the web application to `ml`. Only workers go through it.

torch is loaded inside the functions, in the worker, so that a web process never holds it.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError

from apps.errors import MirageError
from apps.registry import selectors as registry
from apps.registry.models import Bundle
from ml.records import PatientRecord, Prediction

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


def decode(*, bundle: Bundle, record: PatientRecord, out: Path) -> None:
    """Write the pseudo-MRI of a record as NIfTI."""
    _predictor(bundle).decode(record, out)


def warm_up() -> None:
    """Load the champion before the first job comes. Without one there is nothing to do yet."""
    try:
        state = registry.champion_state()
    except DatabaseError:
        logger.warning("The database is away; the bundle is loaded with the first job")
        return
    if state.bundle is None or state.problem:
        logger.warning("No bundle to load: %s", state.problem)
        return
    _predictor(state.bundle)


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

"""CatBoost: ordered boosting of symmetric trees (Prokhorenkova et al. 2018)."""

from collections.abc import Sequence
from typing import Any


def candidates(seed: int) -> Sequence[Any]:
    """Shallow trees and deeper ones; few or many of them.

    Raises:
        ImportError: the package is not installed; it is large, and the application does without.
    """
    try:
        from catboost import CatBoostClassifier
    except ImportError as error:
        raise ImportError(
            "CatBoost is not installed. `make install-dev` brings it, or leave its rows out."
        ) from error
    return [
        CatBoostClassifier(
            depth=depth,
            iterations=rounds,
            learning_rate=0.05,
            thread_count=1,
            random_seed=seed,
            verbose=False,
            allow_writing_files=False,
        )
        for depth in (2, 5)
        for rounds in (100, 300)
    ]

"""Gradient-boosted trees on histograms (as in LightGBM)."""

from sklearn.ensemble import HistGradientBoostingClassifier


def candidates(seed: int) -> list[HistGradientBoostingClassifier]:
    """Stumps, which add up like a regression, and trees of eight leaves; few or many of them."""
    return [
        HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_leaf_nodes=leaves,
            max_iter=rounds,
            min_samples_leaf=10,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        )
        for leaves in (2, 8)
        for rounds in (50, 150, 400)
    ]

"""Random forest (Breiman 2001): the EHR-only model with the highest AUC in the paper's Table 1."""

from sklearn.ensemble import RandomForestClassifier

TREES = 200


def candidates(seed: int) -> list[RandomForestClassifier]:
    """Leaves of different sizes, and few or many columns to choose each split from."""
    return [
        RandomForestClassifier(
            TREES, min_samples_leaf=leaf, max_features=share, random_state=seed, n_jobs=1
        )
        for leaf in (3, 10, 30)
        for share in ("sqrt", 0.3)
    ]

"""A multi-layer perceptron with one hidden layer, as in the paper's Table 1."""

from sklearn.neural_network import MLPClassifier


def candidates(seed: int) -> list[MLPClassifier]:
    """Penalties from weak to strong, trained for a short and a long time."""
    return [
        MLPClassifier((32,), alpha=alpha, max_iter=epochs, random_state=seed)
        for alpha in (0.1, 1.0, 10.0)
        for epochs in (20, 80)
    ]

"""Model bundles, which of them answers, the trainings that make them, what judges them."""

from apps.registry.models.bundles import CHALLENGER, CHAMPION, Bundle, BundleNote, Deployment
from apps.registry.models.evaluations import Evaluation
from apps.registry.models.gates import GateCheck, Holdout
from apps.registry.models.training import TrainingEvent, TrainingRun

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Bundle",
    "BundleNote",
    "Deployment",
    "Evaluation",
    "GateCheck",
    "Holdout",
    "TrainingEvent",
    "TrainingRun",
]

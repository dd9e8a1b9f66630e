"""The card of a bundle in the words of MONAI's bundle specification, `metadata.json`.

The bundle itself keeps safetensors and its own card: MONAI's layout asks for a pickled state.
"""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ml.card import BundleCard
from ml.concepts import dictionary
from ml.data.mri import grid

NEEDED = ("torch-geometric", "nibabel", "safetensors", "transformers")
REFERENCES = (
    "MIRAGE: arXiv 2603.02434.",
    "Collins GS et al. TRIPOD+AI statement. BMJ 2024;385:e078378.",
)


def monai_metadata(
    card: BundleCard, measured: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """All keys of MONAI's specification, from the card.

    Args:
        card: of the bundle.
        measured: figures with value, low and high, by name, in place of the card's own.

    Returns:
        JSON. A figure keeps its interval: `eval_metrics` maps a name to value, low and high.
    """
    made = card.lineage.get("software")
    figures = measured or with_interval(card.metrics)
    return {
        "version": card.version,
        "changelog": {card.version: f"Trained {card.created_at[:10]} by `{card.command}`"},
        "monai_version": version("monai"),
        "pytorch_version": str(made) if made else version("torch"),
        "numpy_version": version("numpy"),
        "optional_packages_version": {
            "python": platform.python_version(),
            **{name: version(name) for name in NEEDED},
        },
        "name": card.name,
        "task": "Probability of Alzheimer's disease from a health record, without an MRI",
        "description": (
            "A patient's findings are linked to a knowledge graph and passed through a graph "
            "attention network into the latent space of a 3D MRI autoencoder. That surrogate gives "
            "a calibrated probability and, on request, a pseudo-MRI, which is synthetic."
        ),
        "authors": "The MIRAGE project",
        "copyright": "Apache License 2.0",
        "intended_use": f"Research on people like the reference people. {card.limits}",
        "data_source": card.reference.description,
        "data_type": "tables of findings; NIfTI in training",
        "image_classes": "one channel, MNI152 space; air 0, white matter about 0.9",
        "label_classes": "0 cognitively normal (CN), 1 Alzheimer's disease (AD)",
        "pred_classes": "ad, cn, uncertain, outside the training data, too few inputs",
        "eval_metrics": {name: dict(each) for name, each in figures.items()},
        "references": list(REFERENCES),
        "network_data_format": {
            "inputs": {"findings": _findings(card)},
            "outputs": {"probability": _probability(), "pseudo_mri": _pseudo_mri(card.spacing_mm)},
        },
    }


def with_interval(figures: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Those figures that have an interval; a bare number says less than it seems to."""
    return {
        name: each
        for name, each in figures.items()
        if isinstance(each, Mapping) and {"value", "low", "high"} <= set(each)
    }


def _findings(card: BundleCard) -> dict[str, Any]:
    known = dictionary()
    return {
        "type": "tuples",
        "format": "one number a finding, in its unit; NaN where it was not observed",
        "modality": "n/a",
        "num_channels": len(card.schema),
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {
            str(place): f"{known[name].label} [{known[name].unit}]".removesuffix(" []")
            for place, name in enumerate(card.schema)
        },
    }


def _probability() -> dict[str, Any]:
    return {
        "type": "probabilities",
        "format": "a probability with its 95 % interval",
        "modality": "n/a",
        "num_channels": 3,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "probability of AD", "1": "lower bound", "2": "upper bound"},
    }


def _pseudo_mri(spacing_mm: float) -> dict[str, Any]:
    return {
        "type": "image",
        "format": "magnitude",
        "modality": "synthetic T1-weighted MR",
        "num_channels": 1,
        "spatial_shape": list(grid(spacing_mm).shape),
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {"0": "SYNTHETIC: decoded from a record, nobody's anatomy"},
    }

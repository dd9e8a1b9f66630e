"""Every cell and every row there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ml.evaluation.baselines import PEERS
from ml.evaluation.tables.cells import Cell
from ml.evaluation.tables.drawn import LATENTS, VOXELS, make_alignment, make_drawn
from ml.evaluation.tables.people import make_people
from ml.evaluation.tables.pictures import make_pictures
from ml.evaluation.tables.records import make_fusion, make_record
from ml.evaluation.tables.stages import make_autoencoder, make_cnn, make_graph
from ml.evaluation.tables.trained import (
    NEIGHBOURS,
    Variant,
    make_controls,
    make_mirage,
    make_neighbours,
)

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "ours": Variant(),
        "no-kg": Variant(graph="no-edges"),
        "no-gat": Variant({"graph.attention": False}),
        "no-ae": Variant(coarse=True),
        "no-adapter": Variant({"distill.adapter_width": 0}),
        "no-masking": Variant(masked=False),
        "plain-ae": Variant(autoencoder="plain"),
        "components": Variant(autoencoder="components"),
        "shuffled-kg": Variant(graph="rewired"),
        "random-text": Variant(graph="random-text"),
        "no-patient-path": Variant({"graph.patients_send": False}),
        "no-wc": Variant({"distill.blends": (0.0,)}),
        "full-wc": Variant({"distill.blends": (1.0,)}),
        "group-masking": Variant({"propagate.group_masking": 0.5}),
        "no-teacher": Variant({"propagate.teacher_share": 0.0}),
        "no-diagnosis": Variant({"propagate.diagnosis_weight": 0.0}),
        "no-classification": Variant({"distill.classification": 0.0}),
        "no-latent": Variant({"distill.latent": 0.0}),
        "no-decoding": Variant({"propagate.decode_steps": 0}),
        "no-l1": Variant({"reconstruction.l1": 0.0}),
        "no-ssim": Variant({"reconstruction.ssim": 0.0}),
        "no-tv": Variant({"reconstruction.tv": 0.0}),
    }
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        table: 1, or 2 for ablations.
        title: as the table has it.
        cell, score: where its scores are.
        paper: AUC that the paper gives for it; None where it has no such row.
        simple: whether it is one of the simple readers of the record that others are held against.
    """

    table: int
    title: str
    cell: str
    score: str
    paper: float | None = None
    simple: bool = False


def _cells() -> dict[str, Cell]:
    found = [Cell("people", make_people)]
    found += [
        Cell(f"autoencoder/{each}", make_autoencoder, ("people",), {"autoencoder": each})
        for each in ("default", "components", "plain")
    ]
    found += [
        Cell(f"graph/{each}", make_graph, ("people",), {"graph": each})
        for each in ("real", "rewired", "no-edges", "random-text")
    ]
    drawn_from = ("people", "autoencoder/default", "cnn")
    aligned = ("people", "autoencoder/default", "graph/real")
    found += [Cell("cnn", make_cnn, ("people", "autoencoder/default"))]
    found += [Cell(f"record/{each}", make_record, ("people",), {"model": each}) for each in PEERS]
    found += [
        Cell(f"drawn/{each}", make_drawn, drawn_from, {"generator": each}, uses)
        for each, uses in (VOXELS | LATENTS).items()
    ]
    found += [
        Cell("alignment", make_alignment, aligned, uses=("fast",)),
        Cell("neighbours", make_neighbours, (*drawn_from, "mirage/ours")),
        Cell("controls", make_controls, (*drawn_from, "mirage/ours")),
        Cell("pictures", make_pictures, (*drawn_from, "mirage/ours")),
    ]
    found += [
        Cell(
            f"mirage/{name}",
            make_mirage,
            ("people", f"autoencoder/{variant.autoencoder}", f"graph/{variant.graph}", "cnn"),
            {"variant": variant},
        )
        for name, variant in VARIANTS.items()
    ]
    fusions = {f"{each}-pseudo": (f"record/{each}", ("mirage/ours", "cnn")) for each in PEERS}
    fusions["lr-mri"] = ("record/lr", ("cnn", "cnn"))
    fusions["lr-surrogate"] = ("record/lr", ("mirage/ours", "surrogate"))
    found += [
        Cell(
            f"fusion/{name}",
            make_fusion,
            ("people", record, other[0]),
            {"parts": ((record, "record"), other)},
        )
        for name, (record, other) in fusions.items()
    ]
    return {cell.name: cell for cell in found}


CELLS: Mapping[str, Cell] = MappingProxyType(_cells())
BESIDE = ("autoencoder/default", "autoencoder/plain", "controls", "pictures")
"""Cells that hold more than scores; their figures stand below the tables."""

_ABLATED = {
    "no-kg": ("without the knowledge graph's edges (w/o KG)", 0.56),
    "no-gat": ("mean in place of attention (w/o GAT)", 0.58),
    "no-ae": ("cubes of 16 mm in place of the latent (w/o AE)", 0.64),
    "components": ("principal components, nothing trained (w/o AE)", 0.64),
    "no-adapter": ("without the adapter (w/o Adapter)", 0.54),
    "plain-ae": ("plain autoencoder, full skips", None),
    "shuffled-kg": ("graph rewired, degrees kept", None),
    "random-text": ("random text embeddings", None),
    "no-patient-path": ("no messages from patients", None),
    "no-masking": ("nobody hidden in training", None),
    "group-masking": ("groups hidden, p = .5 (MDR-Dx)", None),
    "no-wc": ("no whitening-colouring", None),
    "full-wc": ("whitening-colouring at full strength", None),
    "no-teacher": ("labels alone, no teacher", None),
    "no-diagnosis": ("phase 2 without the diagnosis", None),
    "no-classification": ("phase 3 without the diagnosis", None),
    "no-latent": ("phase 3 without the distance to z", None),
    "no-decoding": ("phase 2 without decoding", None),
    "no-l1": ("without L1", None),
    "no-ssim": ("without SSIM", None),
    "no-tv": ("without TV", None),
}

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "mri": Row(1, "MRI: CNN on the real scan (upper bound)", "cnn", "cnn", 0.85),
        "ehr-mri": Row(
            1, "EHR + MRI: LR and CNN fused (upper bound)", "fusion/lr-mri", "fused", 0.62
        ),
        "lr": Row(1, "LR", "record/lr", "record", 0.75, simple=True),
        "mlp": Row(1, "MLP", "record/mlp", "record", 0.72, simple=True),
        "rf": Row(1, "RF", "record/rf", "record", 0.80, simple=True),
        "gb": Row(1, "gradient boosting", "record/gb", "record", simple=True),
        "catboost": Row(1, "CatBoost", "record/catboost", "record", simple=True),
        "ehr-to-mri": Row(1, "EHR to MRI", "drawn/ehr-to-mri", "cnn", 0.72),
        "ehr-to-latent": Row(1, "EHR to latent, decoded", "drawn/ehr-to-latent", "cnn", 0.72),
        "mvae": Row(1, "multimodal VAE", "drawn/mvae", "cnn", 0.71),
        "latent-diffusion": Row(
            1, "diffusion of the latent", "drawn/latent-diffusion", "cnn", 0.67
        ),
        "voxel-diffusion": Row(
            1, "diffusion of voxels, 8 mm", "drawn/voxel-diffusion", "cnn", 0.67
        ),
        "alignment": Row(1, "soft alignment (PRIMA)", "alignment", "record"),
        "mirage": Row(1, "**MIRAGE: surrogate**", "mirage/ours", "surrogate"),
        "mirage-cnn": Row(1, "MIRAGE: CNN on the pseudo-MRI", "mirage/ours", "cnn"),
        "lr-pseudo": Row(1, "LR + pseudo-MRI", "fusion/lr-pseudo", "fused", 0.75),
        "mlp-pseudo": Row(1, "MLP + pseudo-MRI", "fusion/mlp-pseudo", "fused", 0.75),
        "rf-pseudo": Row(1, "RF + pseudo-MRI", "fusion/rf-pseudo", "fused", 0.78),
        "gb-pseudo": Row(1, "gradient boosting + pseudo-MRI", "fusion/gb-pseudo", "fused"),
        "catboost-pseudo": Row(1, "CatBoost + pseudo-MRI", "fusion/catboost-pseudo", "fused"),
        "lr-surrogate": Row(1, "LR + surrogate", "fusion/lr-surrogate", "fused"),
        "ours": Row(2, "MIRAGE", "mirage/ours", "surrogate", 0.75),
        **{
            name: Row(2, title, f"mirage/{name}", "surrogate", paper)
            for name, (title, paper) in _ABLATED.items()
        },
        "mean-brain": Row(2, "mean brain for everybody", "controls", "mean-brain"),
        "vote": Row(2, "vote of the neighbours' diagnoses", "controls", "vote"),
        **{
            f"k={k}": Row(2, f"pseudo-MRI with {k} donors, CNN", "neighbours", f"k={k}")
            for k in NEIGHBOURS
        },
    }
)

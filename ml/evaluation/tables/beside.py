"""What stands below the tables: figures of cells that are no scores, seed by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml.evaluation.tables import shown
from ml.evaluation.tables.cells import Bench
from ml.evaluation.tables.registry import BESIDE

Figures = Mapping[str, Any]


def beside(bench: Bench, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Seed to cell to figures, of what there is."""
    return {
        str(seed): {
            name: {
                key: value for key, value in bench.figures(name, seed).items() if key != "scores"
            }
            for name in BESIDE
            if bench.is_made(name, seed)
        }
        for seed in seeds
    }


def readable_beside(found: Mapping[str, Mapping[str, Figures]]) -> str:
    """As Markdown, the figures of each seed one below the other."""
    lines: list[str] = []
    for seed, cells in found.items():
        if cells:
            lines += [f"Seed {seed}.", "", "| | |", "| --- | --- |"]
        for name, figures in cells.items():
            if name.startswith("autoencoder/"):
                lines += _autoencoder(name, figures)
        if "controls" in cells:
            lines += _controls(cells["controls"]["trap7"])
        if "pictures" in cells:
            lines += _pictures(cells["pictures"])
        lines.append("")
    return "\n".join(lines).rstrip()


def _autoencoder(name: str, figures: Figures) -> list[str]:
    similar = figures["ssim"]
    shares = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in similar.items())
    return [
        f"| {name}: swap ratio of real latents | {figures['swap_ratio']:.2f} |",
        f"| {name}: SSIM | {shares} |",
    ]


def _controls(figures: Figures) -> list[str]:
    lines = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            lines.append(f"| CNN on pseudo-MRI, {name.replace('_', ' ')} | {shown(value)} |")
    return lines


def _pictures(figures: Figures) -> list[str]:
    lines = [
        f"| membership by {name} | {shown(each)} |" for name, each in figures["membership"].items()
    ]
    near = figures["donors"]
    lines += [
        f"| pseudo-MRI to nearest donor; donor to nearest other | {near['to_nearest_donor']:.3f}; "
        f"{near['donors_to_nearest_other']:.3f} |",
        "| pseudo-MRIs nearer to a donor than any two donors are to each other | "
        f"{near['nearer_than_any_pair']:.3f} |",
    ]
    lines += [
        f"| Fréchet distance, {name} | {value:.1f} |" for name, value in figures["frechet"].items()
    ]
    for name, each in figures["grad_cam"].items():
        changes = (
            "{deletion:+.2f}, {deletion_random:+.2f}; {insertion:+.2f}, {insertion_random:+.2f}"
        )
        told = (changes + "; {randomised:+.2f}").format(**each).replace("-", "−")
        lines += [
            f"| {name}: people for whom it beats random voxels | {shown(each['better'])} |",
            f"| {name}: deletion, random; insertion, random; shuffled weights | {told} |",
        ]
    return lines

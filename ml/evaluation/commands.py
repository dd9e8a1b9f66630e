"""The evaluations that the command line offers; what they need is imported when they run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT_CACHE = Path.home() / ".cache" / "mirage"


@dataclass(frozen=True, kw_only=True)
class Codes:
    """Write the people of a phantom cohort as coded records: codes.csv in its folder.

    Attributes:
        cohort: folder of the cohort, as `phantom` writes it.
        site: name of the clinic; its habits of coding follow from the name.
        seed: of the codes.
    """

    cohort: Path
    site: str = "north"
    seed: int = 1

    def run(self) -> None:
        """Write the file and say where it is."""
        from ml.data.phantom_codes import write_codes

        print(write_codes(self.cohort, site=self.site, seed=self.seed))


@dataclass(frozen=True, kw_only=True)
class CompareCodes:
    """Coded records: baselines and our model, with the graph and without, at two sites.

    Takes about a minute of one processor a seed. Seeds that the file holds are not run again.

    Attributes:
        out: JSON file for the results.
        seeds: how many; each draws its own people and habits.
        first_seed: the first of them.
    """

    out: Path
    seeds: int = 5
    first_seed: int = 1

    def run(self) -> None:
        """Write the figures and print the table."""
        from ml.evaluation.coded_records import compare_codes, readable

        done = json.loads(self.out.read_text())["runs"] if self.out.exists() else []
        results = compare_codes(
            range(self.first_seed, self.first_seed + self.seeds),
            _text_encoder(),
            done=done,
            save=lambda results: _write(self.out, results),
        )
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class CompareLabels:
    """All labels, few labels, wrong labels: EHR-only models and MIRAGE on the same people.

    Takes about ten minutes of one processor a seed. Seeds that the file holds are not run again.

    Attributes:
        out: JSON file for the results.
        seeds: how many; each draws its own people.
        first_seed: the first of them.
    """

    out: Path
    seeds: int = 5
    first_seed: int = 1

    def run(self) -> None:
        """Write the figures and print the table."""
        from ml.evaluation.few_labels import compare_labels, readable

        done = json.loads(self.out.read_text())["runs"] if self.out.exists() else []
        results = compare_labels(
            range(self.first_seed, self.first_seed + self.seeds),
            TEXT_CACHE,
            done=done,
            save=lambda results: _write(self.out, results),
        )
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """A bundle under missing values, missing groups and another clinic's field names and units.

    Attributes:
        bundle: folder of the bundle.
        out: JSON file for the results.
        seed: of 2,000 imagined people and of what is missing.
    """

    bundle: Path
    out: Path
    seed: int = 1

    def run(self) -> None:
        """Write the figures and print the table."""
        from ml.evaluation.robustness import readable, robustness

        results = robustness(self.bundle, _text_encoder(), seed=self.seed)
        _write(self.out, results)
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """How much of the diagnosis a dense record holds, by model and number of training people.

    Attributes:
        out: JSON file for the results.
        seed: of the people and the models.
        sizes: numbers of training people.
        models: which baselines; what the file holds already is not run again.
        label_errors: share of recorded diagnoses that are wrong, 0 to 1.
    """

    out: Path
    seed: int = 1
    models: tuple[str, ...] = ("lr", "rf", "gb", "mlp")
    sizes: tuple[int, ...] = (80, 300, 766, 3_000, 30_000)
    label_errors: float = 0.0

    def run(self) -> None:
        """Write the figures and print the table."""
        from ml.evaluation.ceilings import ceilings, readable

        results = ceilings(
            self.sizes,
            seed=self.seed,
            models=self.models,
            label_errors=self.label_errors,
            done=json.loads(self.out.read_text()) if self.out.exists() else None,
            save=lambda results: _write(self.out, results),
        )
        print(readable(results))


def _text_encoder() -> Any:
    import torch

    from ml.text_encoder import TextEncoder

    torch.set_num_threads(1)  # two threads on busy cores are slower than one (method.md trap 12)
    return TextEncoder(cache=TEXT_CACHE)


def _write(path: Path, results: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)

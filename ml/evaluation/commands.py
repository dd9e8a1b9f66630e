"""The evaluations that the command line offers; what they need is imported when they run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml.user_cache import USER_CACHE


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
            save=lambda results: write_results(self.out, results),
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
        curve: 40, 80, 150, 300 and all labels instead, all of them right; a file of its own.
    """

    out: Path
    seeds: int = 5
    first_seed: int = 1
    curve: bool = False

    def run(self) -> None:
        """Write the figures and print the table."""
        from ml.evaluation.few_labels import CONDITIONS, CURVE, compare_labels, readable

        done = json.loads(self.out.read_text())["runs"] if self.out.exists() else []
        results = compare_labels(
            range(self.first_seed, self.first_seed + self.seeds),
            USER_CACHE,
            conditions=CURVE if self.curve else CONDITIONS,
            done=done,
            save=lambda results: write_results(self.out, results),
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
        write_results(self.out, results)
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Whether a bundle's explanations are of the bundle: the deletion test, and a model of noise.

    Attributes:
        bundle: folder of the bundle.
        out: JSON file for the results.
        seed: of 200 imagined people and of the noise.
    """

    bundle: Path
    out: Path
    seed: int = 1

    def run(self) -> None:
        """Write the figures and print them."""
        from ml.evaluation.faithfulness import faithfulness, readable

        results = faithfulness(self.bundle, seed=self.seed)
        write_results(self.out, results)
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
            save=lambda results: write_results(self.out, results),
        )
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class Oasis:
    """Real scans: OASIS-1's dementia from scans, from records, and from records taught by scans.

    About three minutes of one processor a repeat, and four for the autoencoder at 4 mm. What the
    file holds is not run again.

    Attributes:
        data: folder with oasis_cross-sectional.csv, registration_qc.csv and volumes.
        out: JSON file for the results; scores are in there, identifiers are not.
        repeats: cross-validations by person.
        seed: of the first of them.
        autoencoder: profiles whose autoencoder is trained and measured on held-out people.
    """

    data: Path
    out: Path
    repeats: int = 3
    seed: int = 1
    autoencoder: tuple[Literal["4mm", "2mm"], ...] = ("4mm",)

    def run(self) -> None:
        """Write the figures and print the tables."""
        from ml.evaluation import oasis, oasis_autoencoder

        done = json.loads(self.out.read_text()) if self.out.exists() else {}
        results = oasis.compare_on_oasis(
            self.data,
            USER_CACHE,
            repeats=self.repeats,
            seed=self.seed,
            done=done.get("runs", ()),
            save=lambda results: write_results(self.out, done | results),
        )
        images = done.get("autoencoder", {})
        for profile in self.autoencoder:
            if profile not in images:
                images[profile] = oasis_autoencoder.autoencoder_on_oasis(
                    self.data, seed=self.seed, profile=profile
                )
            results |= {"autoencoder": images}
            write_results(self.out, results)
        print(oasis.readable(results))
        for profile, figures in images.items():
            print(f"\n{profile}\n\n{oasis_autoencoder.readable(figures)}")


@dataclass(frozen=True, kw_only=True)
class ImportCohort:
    """Turn OASIS-1, ADNI or a BIDS folder, scans registered, into a cohort that `train` reads.

    Attributes:
        input: folder of OASIS-1 or BIDS; for ADNI that of Clinica, with ADNIMERGE.csv in it.
        out: new folder for the cohort.
        form: what the input is.
        spacing_mm: voxel edge of the scans that are written; by default that of the input.
    """

    input: Path
    out: Path
    form: Literal["oasis", "bids", "adni"]
    spacing_mm: float | None = None

    def run(self) -> None:
        """Write the folder and say what was left out."""
        from ml.data.adni import read_adni
        from ml.data.bids import read_bids, write_cohort
        from ml.data.oasis import read_oasis

        if self.form == "oasis":
            oasis = read_oasis(self.input)
            cohort = oasis.cohort
            left = f"{len(oasis.refused)} scans registered wrongly"
        elif self.form == "adni":
            adni = read_adni(self.input)
            cohort = adni.cohort
            left = (
                f"{len(adni.without_visit)} scans of no visit in the table, columns "
                f"{', '.join(adni.left_out) or '-'}"
            )
        else:
            bids = read_bids(self.input)
            cohort = bids.cohort
            left = f"{bids.further_scans} further scans, columns {', '.join(bids.left_out) or '-'}"
        write_cohort(cohort, self.out, self.spacing_mm)
        scanned = len(cohort.ids_with_scan())
        print(f"{len(cohort.ids)} participants, {scanned} with a scan, in {self.out}")
        print(f"left out: {left}")


@dataclass(frozen=True, kw_only=True)
class SemiSupervised:
    """What records without a scan bring to a training, and what hiding whole groups brings.

    With 600 people about six minutes of one processor a seed. Seeds that the file holds are not
    run again.

    Attributes:
        out: JSON file for the results, of one number of people.
        seeds: how many; each draws its own people.
        first_seed: the first of them.
        people: to train on.
    """

    out: Path
    seeds: int = 3
    first_seed: int = 1
    people: int = 600

    def run(self) -> None:
        """Write the figures and print the tables."""
        from ml.evaluation.semi_supervised import readable, semi_supervised

        done = json.loads(self.out.read_text())["runs"] if self.out.exists() else []
        results = semi_supervised(
            range(self.first_seed, self.first_seed + self.seeds),
            USER_CACHE,
            people=self.people,
            done=done,
            save=lambda results: write_results(self.out, results),
        )
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Judge a bundle on people who did not train it: a page, and every figure as JSON.

    Attributes:
        cohort: folder of the cohort; if the bundle was trained on it, its test part judges.
        bundle: folder of the bundle.
        out: folder for index.html, report.json and what the page needs.
        train: cohort for the record-only models beside it; else they are cross-fitted.
        new: nobody of the cohort trained the bundle, though some are called the same.
        most: people at most.
        prevalence: share of AD for which predictive values are given.
        images: people whose pseudo-MRI is drawn, read and compared with their scan, at most.
        seed: of folds, bootstrap and of what is hidden.
        json: print the figures instead of the place of the page.
    """

    cohort: Path
    bundle: Path
    out: Path
    train: Path | None = None
    new: bool = False
    most: int = 5000
    prevalence: float = 0.1
    images: int = 120
    seed: int = 1
    json: bool = False

    def run(self) -> None:
        """Write the report and say where it is."""
        import torch

        from ml.card import verify
        from ml.evaluation.evaluate import EvaluationSettings, evaluate_bundle
        from ml.evaluation.report import write_report
        from ml.progress import Stages

        torch.set_num_threads(1)  # two threads on busy cores are slower (method.md trap 12)
        settings = EvaluationSettings(
            new=self.new,
            most=self.most,
            prevalence=self.prevalence,
            images=self.images,
            seed=self.seed,
        )
        with Stages() as bars:
            results = evaluate_bundle(
                self.bundle, self.cohort, settings, train=self.train, progress=bars.show
            )
        page = write_report(results, verify(self.bundle), self.out)
        print(json.dumps(results, indent=2) if self.json else f"The report is {page}.")


def _text_encoder() -> Any:
    import torch

    from ml.text_encoder import TextEncoder

    torch.set_num_threads(1)  # two threads on busy cores are slower than one (method.md trap 12)
    return TextEncoder(cache=USER_CACHE)


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write an evaluation's figures whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)

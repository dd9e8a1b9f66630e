"""The command line: `python -m ml phantom | train | predict | card`; `--help` behind each."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from ml.card import BundleError, fingerprint, readable, verify
from ml.records import PatientRecord, Prediction

PREDICTION_COLUMNS = ("patient", "probability", "low", "high", "answer", "missing")
TEXT_CACHE = Path.home() / ".cache" / "mirage"
MAX_ROWS = 100_000


class InputError(ValueError):
    """What was given on the command line cannot be used; the text says what to give instead."""


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Make a cohort of invented people with scans, health records and a known truth.

    Attributes:
        out: new folder for the cohort.
        patients: how many people.
        spacing_mm: voxel edge of the scans: 8, 4, 2 or 1 mm.
        seed: of everything that is drawn.
        json: print JSON instead of text.
    """

    out: Path
    patients: int = 300
    spacing_mm: float = 2.0
    seed: int = 1
    json: bool = False

    def run(self) -> None:
        """Write the cohort folder."""
        from ml.data.phantom import make_phantom_cohort

        with tqdm(total=self.patients, desc="phantoms", file=sys.stderr) as bar:
            make_phantom_cohort(
                self.out,
                patients=self.patients,
                spacing_mm=self.spacing_mm,
                seed=self.seed,
                progress=_moves(bar),
            )
        _say(
            self.json,
            {"cohort": str(self.out), "patients": self.patients, "spacing_mm": self.spacing_mm},
            f"{self.patients} phantoms at {self.spacing_mm:g} mm in {self.out}",
        )


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train every stage of the paper on a cohort and write a bundle.

    Attributes:
        cohort: folder of the cohort, as `phantom` writes it.
        out: folder of the bundle; a bundle that is there is replaced.
        profile: size of the model; the cohort must have its voxel size (tiny is 8 mm).
        seed: of the split and of everything random.
        name: of the bundle.
        json: print JSON instead of text.
    """

    cohort: Path
    out: Path
    profile: Literal["tiny", "4mm", "2mm"] = "2mm"
    seed: int = 1
    name: str = "mirage"
    json: bool = False

    def run(self) -> None:
        """Train, showing each stage's progress, and print the card."""
        from ml.training.pipeline import train

        command = (
            f"python -m ml train --cohort {self.cohort.name} --profile {self.profile} "
            f"--seed {self.seed} --out {self.out.name}"
        )
        with _Stages() as stages:
            card = train(
                self.cohort,
                self.profile,
                self.seed,
                self.out,
                stages.show,
                command=command,
                name=self.name,
                text_cache=TEXT_CACHE,
            )
        _say(self.json, json.loads(card.to_json()), readable(card))


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict for every patient of an EHR table, and draw their pseudo-MRIs if asked.

    Attributes:
        bundle: folder of the bundle.
        ehr: CSV file; its headers are concept identifiers, labels or ADNI field names.
        out: CSV file for the predictions, in the order of the input.
        pseudo_mri: folder for one NIfTI file a patient, marked SYNTHETIC.
        json: print JSON instead of text.
    """

    bundle: Path
    ehr: Path
    out: Path
    pseudo_mri: Path | None = None
    json: bool = False

    def run(self) -> None:
        """Write the predictions and, if asked, the pseudo-MRIs."""
        from ml.data.ehr import read_ehr_csv
        from ml.predictor import Predictor

        table = read_ehr_csv(self.ehr, max_rows=MAX_ROWS)
        if not table.records:
            lines = [each.message for each in table.problems[:10]]
            raise InputError(f"{self.ehr.name} was not read. " + " ".join(lines))
        predictor = Predictor.load(self.bundle)
        predictions = predictor.predict(table.records)
        write_predictions(self.out, predictions)
        if self.pseudo_mri is not None:
            self._draw(predictor.decode, table.records, self.pseudo_mri)
        answers = [prediction.answer.value for prediction in predictions]
        counts = {answer: answers.count(answer) for answer in sorted(set(answers))}
        _say(
            self.json,
            {
                "out": str(self.out),
                "patients": len(predictions),
                "answers": counts,
                "bundle_version": predictor.card.version,
            },
            f"{len(predictions)} predictions in {self.out}: "
            + ", ".join(f"{count} {answer}" for answer, count in counts.items()),
        )

    @staticmethod
    def _draw(
        decode: Callable[[PatientRecord, Path], None],
        records: tuple[PatientRecord, ...],
        folder: Path,
    ) -> None:
        for number, record in enumerate(
            tqdm(records, desc="pseudo-MRIs", file=sys.stderr), start=1
        ):
            # The number of the row, not the patient's key: a key may hold anything, even a path.
            decode(record, folder / f"row-{number:05d}_pseudo-mri.nii")


@dataclass(frozen=True, kw_only=True)
class Card:
    """Check a bundle's files and show its card.

    Attributes:
        bundle: folder of the bundle.
        json: print JSON instead of text.
    """

    bundle: tyro.conf.Positional[Path]
    json: bool = False

    def run(self) -> None:
        """Print the card, or raise if a file is not the one that the card lists."""
        card = verify(self.bundle)
        mark = fingerprint(self.bundle)
        _say(
            self.json,
            {**json.loads(card.to_json()), "fingerprint": mark},
            f"{readable(card)}\nfingerprint {mark}",
        )


Command = (
    Annotated[Phantom, tyro.conf.subcommand("phantom")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Card, tyro.conf.subcommand("card")]
)


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    """One line a patient, in their order; an answer without a probability leaves it empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(PREDICTION_COLUMNS)
        for prediction in predictions:
            row = asdict(prediction)
            for name in ("probability", "low", "high"):
                row[name] = "" if row[name] is None else f"{row[name]:.6f}"
            row["answer"] = prediction.answer.value
            row["missing"] = " ".join(prediction.missing)
            row["patient"] = _safe_cell(prediction.patient)
            writer.writerow(row[name] for name in PREDICTION_COLUMNS)


def _safe_cell(text: str) -> str:
    """A spreadsheet runs a cell that starts like a formula; an apostrophe keeps it text."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _say(as_json: bool, entries: dict[str, Any], text: str) -> None:
    print(json.dumps(entries, indent=2) if as_json else text)


def _moves(bar: "tqdm[Any]") -> Callable[[int, int], None]:
    return lambda done, _: bar.update(done - bar.n) and None


class _Stages:
    """One progress bar for each stage of a training, on standard error."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "_Stages":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, stage: str, done: int, total: int) -> None:
        """Move the bar of this stage, or start it."""
        if self._bar is None or stage != self._stage:
            self.__exit__()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr)
        self._bar.update(done - self._bar.n)


def main() -> int:
    """Run one command; 2 if the input is at fault, with a sentence that says how to go on."""
    command: Command = tyro.cli(
        Command,
        prog="python -m ml",
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    try:
        command.run()
    except (BundleError, ValueError, OSError) as error:
        ours = type(error).__module__.startswith("ml.") or type(error).__module__ == "__main__"
        if not (ours or isinstance(error, OSError)):
            raise  # not the input's fault: a bug, to be seen in full
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `python -m ml preprocess | train | predict | ...`, each with `--help`."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tqdm import tqdm

from ml.card import BundleError, fingerprint, readable, verify
from ml.data.commands import Preprocess
from ml.evaluation.commands import (
    Ceilings,
    Codes,
    CompareCodes,
    CompareLabels,
    Evaluate,
    Faithfulness,
    ImportCohort,
    Oasis,
    Robustness,
    SemiSupervised,
)
from ml.evaluation.commands_heads import CompareHeads, HeadsOverSeeds
from ml.evaluation.commands_tables import Tables
from ml.records import PatientRecord, Prediction
from ml.training.commands import Train
from ml.training_plan import TrainingError
from ml.user_cache import USER_CACHE

if TYPE_CHECKING:
    from ml.knowledge_graph import KnowledgeGraph

PREDICTION_COLUMNS = ("patient", "probability", "low", "high", "answer", "missing")
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
class Graph:
    """Read a published knowledge graph into one file with a hash, and say what is in it.

    Attributes:
        out: file of the graph (safetensors).
        source: which graph; the default is made of HPO and ICD-10-CM, which are installed.
        input: folder of the source's files; the default graph needs none.
        concepts: put the concept dictionary on top and keep what its concepts reach: those that
            the model reads (schema), all of them, or none, which keeps the whole graph.
        hops: with concepts, how many edges from a linked node are kept; for the default graph all
            ancestors are, and so many steps down.
        text: with concepts, also link by the likeness of names to this encoder: `minilm`, a
            folder, or a hub name; codes and exact names alone if empty.
        pooling: of that encoder: the mean of a name's tokens, or its first token (cls).
        repair: leave out and count edges that end nowhere and doubled identifiers.
        json: print JSON instead of text.
    """

    out: Path
    source: Literal["ibkh", "hetionet", "primekg", "default"] = "default"
    input: Annotated[Path | None, tyro.conf.arg(name="in")] = None
    concepts: Literal["none", "schema", "all"] = "none"
    hops: int = 1
    text: str = ""
    pooling: Literal["mean", "cls"] = "mean"
    repair: bool = False
    json: bool = False

    def run(self) -> None:
        """Write the graph and print what was read, left out, linked and kept."""
        from ml.concept_linking import coverage
        from ml.concepts import dictionary, schema
        from ml.knowledge_file import write_knowledge
        from ml.patient_graph import graph_with_dictionary
        from ml.text_encoder import TextEncoder

        graph, left_out = self._read()
        report: dict[str, Any] = {"read": graph.counts(), "left_out": left_out}
        if self.concepts != "none":
            known = dictionary()
            concepts = [known[name] for name in (schema() if self.concepts == "schema" else known)]
            embed = None
            if self.text:
                model = None if self.text == "minilm" else self.text
                embed = TextEncoder(model, USER_CACHE, pooling=self.pooling)
            hops = None if self.source == "default" else self.hops
            graph, links = graph_with_dictionary(
                graph, concepts, embed, children=self.hops, hops=hops
            )
            report |= {"kept": graph.counts(), "links": coverage(links)}
        write_knowledge(self.out, graph)
        report |= {"out": str(self.out), "version": graph.version}
        _say(self.json, report, _outline(report))

    def _read(self) -> "tuple[KnowledgeGraph, dict[str, int]]":
        from ml.knowledge_sources.default import read_default
        from ml.knowledge_sources.hetionet import read_hetionet
        from ml.knowledge_sources.ibkh import read_ibkh
        from ml.knowledge_sources.primekg import read_primekg

        if self.source == "default":
            return read_default(), {}
        if self.input is None:
            raise InputError(f"The graph {self.source} is read from files: give their folder, --in")
        read = {"ibkh": read_ibkh, "hetionet": read_hetionet, "primekg": read_primekg}
        with tqdm(desc=self.source, unit="B", unit_scale=True, file=sys.stderr) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            reading = read[self.source](self.input, repair=self.repair, progress=move)
        graph = reading.graph.connected()
        alone = len(reading.graph.nodes) - len(graph.nodes)
        return graph, reading.left_out | ({"nodes without an edge": alone} if alone else {})


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
        decode: Callable[[PatientRecord, Path], object],
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
        monai: print it as `metadata.json` of MONAI's bundle specification.
    """

    bundle: tyro.conf.Positional[Path]
    json: bool = False
    monai: bool = False

    def run(self) -> None:
        """Print the card, or raise if a file is not the one that the card lists."""
        card = verify(self.bundle)
        if self.monai:
            from ml.monai_card import monai_metadata

            print(json.dumps(monai_metadata(card), indent=2))
            return
        mark = fingerprint(self.bundle)
        _say(
            self.json,
            {**json.loads(card.to_json()), "fingerprint": mark},
            f"{readable(card)}\nfingerprint {mark}",
        )


Command = (
    Annotated[Phantom, tyro.conf.subcommand("phantom")]
    | Annotated[Preprocess, tyro.conf.subcommand("preprocess")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Graph, tyro.conf.subcommand("graph")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Card, tyro.conf.subcommand("card")]
    | Annotated[Codes, tyro.conf.subcommand("codes")]
    | Annotated[CompareCodes, tyro.conf.subcommand("compare-codes")]
    | Annotated[CompareLabels, tyro.conf.subcommand("compare-labels")]
    | Annotated[CompareHeads, tyro.conf.subcommand("compare-heads")]
    | Annotated[HeadsOverSeeds, tyro.conf.subcommand("heads-over-seeds")]
    | Annotated[Tables, tyro.conf.subcommand("tables")]
    | Annotated[Robustness, tyro.conf.subcommand("robustness")]
    | Annotated[Faithfulness, tyro.conf.subcommand("faithfulness")]
    | Annotated[Ceilings, tyro.conf.subcommand("ceilings")]
    | Annotated[ImportCohort, tyro.conf.subcommand("import-cohort")]
    | Annotated[Oasis, tyro.conf.subcommand("oasis")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[SemiSupervised, tyro.conf.subcommand("semi-supervised")]
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


def _outline(report: dict[str, Any], indent: str = "") -> str:
    """A report as indented lines: what is in a report of its own stands under its name."""
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", _outline(value, f"{indent}  ")]
        else:
            shown = ", ".join(value) if isinstance(value, list) else value
            lines.append(f"{indent}{name}: {shown}")
    return "\n".join(lines)


def _moves(bar: "tqdm[Any]") -> Callable[[int, int], None]:
    return lambda done, _: bar.update(done - bar.n) and None


def main() -> int:
    """Run one command; 2 if the input is at fault, with a sentence that says how to go on.

    A training that was stopped with Ctrl-C gives 130, as a shell expects.
    """
    command: Command = tyro.cli(
        Command,
        prog="python -m ml",
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    try:
        command.run()
    except TrainingError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (BundleError, ValueError, OSError) as error:
        ours = type(error).__module__.startswith("ml.") or type(error).__module__ == "__main__"
        if not (ours or isinstance(error, OSError)):
            raise  # not the input's fault: a bug, to be seen in full
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

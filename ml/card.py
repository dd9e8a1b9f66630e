"""The card of a bundle: what the model is, what it was trained on, how well it does, its hashes.

Standard library only: the web side reads and checks cards without loading any model.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CARD_FILE = "card.json"
FORMAT = 1
JUDGED_FROM = 20
"""Fewer test people than this judge no gate."""


class BundleError(Exception):
    """A bundle folder is missing, incomplete, changed, or not what its card says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The people that a bundle was trained on; a probability holds for people like them.

    Attributes:
        n: training patients.
        n_ad: training patients with the label AD.
        age_low_years, age_high_years: youngest and oldest training patient.
        description: one sentence for the result page.
    """

    n: int
    n_ad: int
    age_low_years: float
    age_high_years: float
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A figure on test people that must reach a bound before a bundle may answer.

    Attributes:
        name: of the figure in the card's metrics.
        value: what was measured; None if it was not.
        bound: the least value that passes.
        people: test people there were.
        passed: None if there were fewer than `JUDGED_FROM` test people, too few to judge by.
        low, high: of the 95 % interval of the value, where it has one.
        title: what is judged, in words; empty in cards, whose gates are named by their figure.
        finding: what was found, in words with its interval; empty in cards.
        limit: what is asked, in words; empty in cards.
    """

    name: str
    value: float | None
    bound: float
    people: int
    passed: bool | None
    low: float | None = None
    high: float | None = None
    title: str = ""
    finding: str = ""
    limit: str = ""


def judge(name: str, value: float | None, bound: float, people: int) -> Gate:
    """Set a figure against its bound. Not measured is failed; too few people is not judged.

    Example:
        >>> judge("swap_ratio", 0.9, 0.8, 200).passed, judge("swap_ratio", None, 0.8, 200).passed
        (True, False)
        >>> judge("swap_ratio", 0.9, 0.8, 10).passed is None
        True
    """
    passed = (value is not None and value >= bound) if people >= JUDGED_FROM else None
    return Gate(name=name, value=value, bound=bound, people=people, passed=passed)


def gate_words(gate: Gate) -> str:
    """A gate in plain words, for terminal and page."""
    if gate.finding:
        verdict = {True: "passed", False: "failed", None: "too few"}[gate.passed]
        return f"{gate.title}: {gate.finding}; {gate.limit}: {verdict}"
    figure = "not measured" if gate.value is None else f"{gate.value:.2f}"
    verdict = {
        True: "passed",
        False: "failed",
        None: f"not judged, {gate.people} test people are too few",
    }[gate.passed]
    return f"{gate.name.replace('_', ' ')} {figure}, at least {gate.bound:.2f}: {verdict}"


def gates_of(card: Mapping[str, Any]) -> tuple[Gate, ...]:
    """The gates of a card as it is kept in a database."""
    return tuple(Gate(**entry) for entry in card.get("gates", ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCard:
    """All that a bundle says about itself.

    Attributes:
        name, version: the bundle, and which one; `version` names it beside a prediction.
        created_at: ISO 8601 time of the end of training, in UTC.
        command: the command line that made the bundle.
        seed: seed of the whole training.
        profile: name of the training profile (`ml.config.PROFILES`).
        spacing_mm: voxel edge of the pseudo-MRI, in millimetres.
        schema: identifiers of the concepts that the model reads, in order.
        reference: the training people.
        base_rate: share of AD among the training people.
        min_inputs: fewer observed inputs than this are answered TOO_FEW.
        metrics: figures on test people, each a number or a mapping with value, low, high, n.
        training: figures and settings of every stage of the training.
        gates: figures that decide whether the bundle may answer; none in cards older than gates.
        norms: distributions of regional volumes in the training cohort (`ml.norms.Norms`); None
            where too few of its people are cognitively normal.
        lineage: what the bundle was made from: hashes of the data, software, device; empty in cards
            that are older.
        limits: what the model must not be used for, in plain words.
        files: name of each file of the folder to its SHA-256.
    """

    name: str
    version: str
    created_at: str
    command: str
    seed: int
    profile: str
    spacing_mm: float
    schema: tuple[str, ...]
    reference: Reference
    base_rate: float
    min_inputs: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    norms: Mapping[str, Any] | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    limits: str
    files: Mapping[str, str]

    def to_json(self) -> str:
        """Text of `card.json`: sorted nowhere, so that it reads in the order of this class."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, allow_nan=False) + "\n"


def read_card(folder: Path) -> BundleCard:
    """Read the card of a bundle folder, without checking the files it lists.

    Raises:
        BundleError: there is no card, it is no JSON, it has another format, or a field is missing.
    """
    path = folder / CARD_FILE
    remedy = f"Make a bundle with `python -m ml train --cohort DIR --out {folder}`."
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"There is no {CARD_FILE} in {folder}. {remedy}") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error}). {remedy}") from error
    found = entries.pop("format", None) if isinstance(entries, dict) else None
    if found != FORMAT:
        raise BundleError(f"{path} has card format {found}; this version reads {FORMAT}. {remedy}")
    try:
        entries["schema"] = tuple(entries["schema"])
        entries["reference"] = Reference(**entries["reference"])
        entries["gates"] = gates_of(entries)
        return BundleCard(**entries)
    except (KeyError, TypeError) as error:
        raise BundleError(f"{path} is not a complete card ({error}). {remedy}") from error


def verify(folder: Path) -> BundleCard:
    """Check every file of a bundle against its card and give the card back.

    Raises:
        BundleError: the card cannot be read, a file is missing, or its SHA-256 is another one.
    """
    card = read_card(folder)
    remedy = "Copy the bundle again from where it was made, or train it again."
    for name, expected in card.files.items():
        if Path(name).name != name:
            raise BundleError(f"The card in {folder} lists {name!r}, outside its folder. {remedy}")
        try:
            found = sha256_of(folder / name)
        except OSError:
            raise BundleError(f"{name} is missing from the bundle in {folder}. {remedy}") from None
        if found != expected:
            raise BundleError(
                f"{name} in {folder} has SHA-256 {found[:12]}…, its card says {expected[:12]}…: "
                f"the file was changed or cut. {remedy}"
            )
    return card


def fingerprint(folder: Path) -> str:
    """SHA-256 of the card, which holds those of all files: it identifies the whole bundle.

    Raises:
        BundleError: there is no card.
    """
    try:
        return sha256_of(folder / CARD_FILE)
    except OSError:
        raise BundleError(
            f"There is no {CARD_FILE} in {folder}. "
            f"Make a bundle with `python -m ml train --cohort DIR --out {folder}`."
        ) from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def readable(card: BundleCard) -> str:
    """The card as text for a terminal."""
    people = card.reference
    lines = [
        f"{card.name} {card.version}  (profile {card.profile}, {card.spacing_mm:g} mm)",
        f"made       {card.created_at} by: {card.command}",
        f"trained on {people.n} people, {people.n_ad} of them with AD, aged "
        f"{people.age_low_years:g} to {people.age_high_years:g} years",
        f"           {people.description}",
        f"reads      {len(card.schema)} concepts, at least {card.min_inputs} of them observed",
        f"limits     {card.limits}",
        *(f"gate       {gate_words(gate)}" for gate in card.gates),
        *(["made from"] if card.lineage else []),
        *(f"  {line}" for line in _entries(card.lineage)),
        "metrics",
        *(f"  {line}" for line in _entries(card.metrics)),
        "training",
        *(f"  {line}" for line in _entries(card.training)),
        "files",
        *(f"  {name}  sha256 {digest}" for name, digest in card.files.items()),
    ]
    return "\n".join(lines)


def _entries(figures: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for name, value in figures.items():
        if isinstance(value, Mapping) and "low" in value and "value" in value:
            lines.append(f"{prefix}{name}: {value['value']:.4g} ({_interval(value)})")
        elif isinstance(value, Mapping):
            lines += _entries(value, f"{prefix}{name}.")
        elif isinstance(value, float):
            lines.append(f"{prefix}{name}: {value:.4g}")
        else:
            lines.append(f"{prefix}{name}: {value}")
    return lines


def _interval(figure: Mapping[str, Any]) -> str:
    return f"95 % {figure['low']:.4g} to {figure['high']:.4g}, n = {figure.get('n', '?')}"

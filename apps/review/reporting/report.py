"""One study's report, ready to be shown: the page and the PDF say the same words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.review.models import ReaderStudy, StudyAnalysis
from apps.review.protocol import Protocol, Question
from apps.review.reporting.sentences import Sentence, cautions_of, sentences_of
from apps.review.reporting.table3 import Table3, notes_of, tables_of
from apps.review.reporting.words import (
    ARM_NAMES,
    ARM_PLURALS,
    Cell,
    cell,
    in_line,
    listed,
    p_value,
    percents,
    reader_name,
    title_of,
)

GRADED = ("Fleiss kappa", "fleiss"), ("Weighted kappa", "cohen_quadratic"), ("ICC(2,1)", "ICC(2,1)")
MEASURES = (*GRADED, ("Gwet AC1", "ac1"), ("Krippendorff alpha", "alpha"))
ONE_OF_TWO = "two possible answers have no steps to weight and no mean that ICC could be about."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderRow:
    """What one reader, or all together, tell apart."""

    name: str
    right: str
    p: str
    d_prime: Cell
    criterion: str
    is_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionTable:
    """Real or synthetic, against one arm."""

    title: str
    arms: str
    rows: Sequence[ReaderRow]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """One question: measures between readers, then the same reader on repeats."""

    title: str
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds a case in two arms."""

    arm: str
    reference: str
    compared: str
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that the page and the PDF show, in their order."""

    study: ReaderStudy
    analysis: StudyAnalysis
    plan: Protocol
    content: Mapping[str, Any]
    sentences: Sequence[Sentence]
    cautions: Sequence[str]
    tables: Sequence[Table3]
    detection: Sequence[DetectionTable]
    agreement: Sequence[AgreementRow]
    agreement_notes: Sequence[str]
    repeats: int
    times: Sequence[Times]
    time_trend: str
    trends: Sequence[tuple[str, str]]
    flagged: Sequence[str]
    sensitivity: Sequence[tuple[str, str, str]]

    @property
    def measures(self) -> list[str]:
        return [name for name, _ in MEASURES]

    @property
    def inner_level(self) -> str:
        """Percents of the interval of the equivalence test."""
        return f"{100 * (1 - 2 * self.plan.alpha):g}"

    @property
    def ratings_per_arm(self) -> str:
        """How many first readings each arm has."""
        counts = self.content["described"]["readings"]
        return ", ".join(f"{n:,} {_lower(ARM_NAMES[arm])}" for arm, n in counts.items())

    @property
    def cases(self) -> str:
        """'50 cases (25 real, 25 pseudo-MRI)'."""
        counts = self.content["statistics"]["cases"]
        each = ", ".join(f"{n} {_lower(ARM_NAMES[arm])}" for arm, n in counts.items())
        return f"{sum(counts.values())} cases ({each})"

    @property
    def readers(self) -> str:
        count = self.content["statistics"]["readers"]
        return f"{count} reader{'' if count == 1 else 's'}"

    @property
    def sources(self) -> list[str]:
        """Where the volumes of each arm come from."""
        return [
            f"{ARM_NAMES[each['arm']]}: {each['cases']} by {each['made_by']}"
            for each in self.content["sources"]
        ]


def report_of(study: ReaderStudy, analysis: StudyAnalysis) -> Report:
    """The report of an analysis that has succeeded."""
    content: Mapping[str, Any] = analysis.content or {}
    plan, statistics = study.plan, content["statistics"]
    asked = [question for question in plan.questions if question.name in statistics["questions"]]
    agreement = [_agreement(question, statistics["questions"][question.name]) for question in asked]
    return Report(
        study=study,
        analysis=analysis,
        plan=plan,
        content=content,
        sentences=sentences_of(content, plan),
        cautions=cautions_of(content),
        tables=tables_of(content, plan),
        detection=_detection(content, plan),
        agreement=agreement,
        agreement_notes=_agreement_notes(asked, statistics["questions"]),
        repeats=content["described"]["repeats"],
        times=[_times(content, arm) for arm in content["compared"]],
        time_trend=_trend(statistics["time_trend"], "s"),
        trends=[
            (title_of(question.name), _trend(statistics["questions"][question.name]["trend"], ""))
            for question in asked
        ],
        flagged=[
            reader_name(reader["number"]) for reader in content["readers"] if reader["knows_cases"]
        ],
        sensitivity=_sensitivity(content, asked),
    )


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def _detection(content: Mapping[str, Any], plan: Protocol) -> list[DetectionTable]:
    found = []
    for name, against in content["statistics"]["detection"].items():
        for arm, of in against.items():
            rows = [
                ReaderRow(
                    name=reader_name(reader["reader"]),
                    right=percents(reader["accuracy"]["share"]),
                    p=p_value(reader["accuracy"]["p"]),
                    d_prime=cell(reader["d_prime"]),
                    criterion=_number(reader["criterion"]),
                )
                for reader in of["readers"]
            ]
            rows.append(
                ReaderRow(
                    name="All readers",
                    right=percents(of["accuracy"]),
                    p=p_value(of["p"]),
                    d_prime=cell(of["d_prime"]),
                    criterion=_number(of["criterion"]),
                    is_all=True,
                )
            )
            parts = [of["accuracy"], of["d_prime"]]
            parts += [reader["d_prime"] for reader in of["readers"]]
            found.append(
                DetectionTable(
                    title=plan.question(name).text,
                    arms=f"{ARM_NAMES[content['reference']]} and {_lower(ARM_NAMES[arm])}",
                    rows=rows,
                    notes=notes_of(parts, content["statistics"]["notes"]),
                )
            )
    return found


def _number(value: float | None) -> str:
    return cell({"value": value, "low": None, "high": None}, signed=True).value


def _agreement(question: Question, of: Mapping[str, Any]) -> AgreementRow:
    """Between readers over the cases of all arms, and of readers with themselves."""
    between, itself = of["agreement"]["all"], of["repeats"]
    again = itself.get("cohen_quadratic", itself["cohen"])
    cells = [cell(between.get(key)) for _, key in MEASURES]
    return AgreementRow(title_of(question.name), [*cells, cell(again)])


def _agreement_notes(asked: Sequence[Question], found: Mapping[str, Any]) -> list[str]:
    """Why figures are undefined or rough, each reason once with the questions it is about."""
    said: dict[str, list[str]] = {}
    for question in asked:
        between, itself = found[question.name]["agreement"]["all"], found[question.name]["repeats"]
        again = itself.get("cohen_quadratic", itself["cohen"])
        for note in [between[key]["note"] for _, key in MEASURES if key in between]:
            if note:
                said.setdefault(note, []).append(title_of(question.name))
        if again["note"]:
            again_note = again["note"].replace("cases", "pairs")
            said.setdefault(f"Repeats: {again_note}", []).append(title_of(question.name))
        if "cohen_quadratic" not in between:
            reason = f"Weighted kappa and ICC are not defined here: {ONE_OF_TWO}"
            said.setdefault(reason, []).append(title_of(question.name))
    return [
        note if len(set(names)) == len(asked) else f"{listed(list(dict.fromkeys(names)))}: {note}"
        for note, names in said.items()
    ]


def _times(content: Mapping[str, Any], arm: str) -> Times:
    of = content["statistics"]["times"][arm]
    return Times(
        arm=f"{ARM_NAMES[content['reference']]} and {_lower(ARM_NAMES[arm])}",
        reference=_seconds(of["reference"]),
        compared=_seconds(of["compared"]),
        difference=_seconds(of["difference"], signed=True),
    )


def _seconds(estimate: Mapping[str, Any], *, signed: bool = False) -> str:
    if estimate["value"] is None:
        return "not defined"
    found = cell(estimate, digits=0, signed=signed)
    return f"{found.value}\u00a0s {found.interval}"


def _trend(estimate: Mapping[str, Any] | None, unit: str) -> str:
    """Change from one place in the order to the next."""
    if estimate is None:
        return "not defined: no times were measured"
    if estimate["value"] is None:
        return f"not defined: {estimate['note']}"
    found = cell(estimate, digits=2 if unit else 3, signed=True)
    return (
        f"{found.value}\u00a0{unit} {found.interval}" if unit else f"{found.value} {found.interval}"
    )


def _sensitivity(
    content: Mapping[str, Any], asked: Sequence[Question]
) -> list[tuple[str, str, str]]:
    """Question and arm, the difference by all readers, and without those who may know cases."""
    rest = content["without_flagged"]
    if rest is None:
        return []
    mine, theirs = content["statistics"]["questions"], rest["statistics"]["questions"]

    def difference(found: Mapping[str, Any], question: Question, arm: str) -> str:
        return in_line(found[question.name]["comparisons"][arm]["difference"], signed=True)

    return [
        (
            f"{title_of(question.name)}, {ARM_PLURALS[arm]}",
            difference(mine, question, arm),
            difference(theirs, question, arm),
        )
        for question in asked
        for arm in content["compared"]
    ]

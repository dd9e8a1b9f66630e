"""What a study shows, in sentences made from its figures and never saying more than they do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.review.protocol import Protocol
from apps.review.reporting.table3 import Verdict, verdict_of
from apps.review.reporting.words import (
    ARM_PLURALS,
    decimal,
    in_line,
    interval,
    listed,
    p_value,
    percents,
    reader_name,
    title_of,
)

LITTLE_TO_SPARE = 0.9  # of the margin; beyond, equivalence was a near thing
CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Sentence:
    """A finding: its subject in bold, and what is said of it."""

    subject: str
    text: str


def sentences_of(content: Mapping[str, Any], plan: Protocol) -> list[Sentence]:
    """Equivalence, then differences, then what is shown neither way, then detection."""
    said: list[Sentence] = []
    for arm in content["compared"]:
        said += _of_arm(content, plan, arm)
        for name, against in content["statistics"]["detection"].items():
            question, alpha = plan.question(name).text, content["statistics"]["alpha"]
            said.append(_of_detection(question, against[arm], arm, alpha))
    return said


def cautions_of(content: Mapping[str, Any]) -> list[str]:
    """What has to be known before the sentences are read."""
    alpha = content["statistics"]["alpha"]
    tests = sum(
        comparison["p"] is not None
        for question in content["statistics"]["questions"].values()
        for comparison in question["comparisons"].values()
    )
    said = [_named(note) for note in content["statistics"]["notes"]]
    if content["missing"]:
        said.append(f"{content['missing']:,} readings were missing when the study was locked.")
    if content["arms_without_readings"]:
        arms = listed([ARM_PLURALS[arm] for arm in content["arms_without_readings"]])
        said.append(f"Nobody read any case of these arms: {arms}.")
    if content["unanswered"]:
        names = listed([title_of(name) for name in content["unanswered"]])
        said.append(f"Nobody gave an answer with a number to: {names}.")
    if tests > 1:
        said.append(
            f"{tests} differences are tested, each alone at {alpha:g}: among so many, some are "
            "shown by chance. Conclude from the hypotheses of the protocol."
        )
    return said


def _named(note: str) -> str:
    """A note of the statistics with our words for the arms."""
    for arm, plural in ARM_PLURALS.items():
        note = note.replace(f"in arm {arm!r}", f"in the arm of {plural}")
    return note


def _of_arm(content: Mapping[str, Any], plan: Protocol, arm: str) -> list[Sentence]:
    """One sentence for each question that states a margin, and one for all that show nothing."""
    ours, theirs = ARM_PLURALS[arm], ARM_PLURALS[content["reference"]]
    found = content["statistics"]["questions"]
    with_margin = [q for q in plan.questions if q.name in found and q.margin is not None]
    without = [q for q in plan.questions if q.name in found and q.margin is None]
    said: list[Sentence] = []
    nothing: list[str] = []
    unknown: list[str] = []
    for question in [*with_margin, *without]:
        if question.kind == "guess":
            continue  # detection says it better
        of = found[question.name]["comparisons"][arm]
        verdict = verdict_of(of, content["statistics"]["alpha"])
        title = title_of(question.name)
        if verdict.kind == "equivalent":
            unit = " points" if question.kind == "scale" else ""
            said.append(Sentence(title, _equivalent(of, verdict, ours, theirs, unit)))
        elif verdict.kind == "difference":
            said.append(Sentence(title, _different(of, ours, theirs)))
        elif question.margin is not None:
            (unknown if verdict.kind == "undefined" else nothing).append(title)
    if nothing:
        text = f"between {ours} and {theirs} neither a difference nor equivalence is shown."
        small = [
            f"{title_of(q.name)}: {note}"
            for q in with_margin
            if (note := found[q.name]["comparisons"][arm]["equivalence"]["note"])
            and title_of(q.name) in nothing
        ]
        said.append(Sentence(listed(nothing), " ".join([text, *small])))
    if unknown:
        text = f"{ours} and {theirs} cannot be compared by a test; the notes below say why."
        said.append(Sentence(listed(unknown), text))
    return said


def _equivalent(of: Mapping[str, Any], verdict: Verdict, ours: str, theirs: str, unit: str) -> str:
    equivalence = of["equivalence"]
    level = f"{100 * (1 - 2 * equivalence['alpha']):.0f}\u00a0%"
    farthest = max((equivalence["low"], equivalence["high"]), key=abs)
    text = (
        f"{ours} and {theirs} are equivalent within ±{decimal(equivalence['margin'])}{unit} "
        f"({level} interval {interval(equivalence['low'], equivalence['high'])[1:-1]})"
    )
    if abs(farthest) > LITTLE_TO_SPARE * equivalence["margin"]:
        text += ", with little to spare"
    if verdict.more:
        text += (
            f". A difference within the margin is shown: {in_line(of['difference'], signed=True)}"
        )
    return f"{text}."


def _different(of: Mapping[str, Any], ours: str, theirs: str) -> str:
    higher, lower = (theirs, ours) if of["difference"]["value"] > 0 else (ours, theirs)
    size = abs(of["difference"]["value"])
    bounds = sorted(abs(of["difference"][key]) for key in ("low", "high"))
    text = (
        f"answers are higher for {higher} than for {lower}, by {decimal(size)} "
        f"{interval(*bounds)}, {p_value(of['p'])}"
    )
    if of["equivalence"] is not None:
        text += "; equivalence is not shown"
    return f"{text}."


def _of_detection(question: str, found: Mapping[str, Any], arm: str, alpha: float) -> Sentence:
    value, p = found["accuracy"]["value"], found["p"]
    if value is None:
        return Sentence(
            question, f"not defined for {ARM_PLURALS[arm]}: {found['accuracy']['note']}"
        )
    text = f"{percents(found['accuracy'])} right about {ARM_PLURALS[arm]} and real scans: "
    if p is None:
        text += "there is no test against chance."
    elif p >= alpha:
        text += f"as a group the readers are not shown to do better than chance ({p_value(p)})."
    else:
        than = "more" if value > CHANCE else "less"
        text += f"as a group the readers are right {than} often than by chance ({p_value(p)})."
    return Sentence(question, f"{text} {_of_readers(found['readers'])}".strip())


def _of_readers(readers: Sequence[Mapping[str, Any]]) -> str:
    """Who is alone shown to tell the arms apart, and of how many."""
    able = [reader for reader in readers if (reader["d_prime"]["low"] or 0.0) > 0]
    if not able or len(readers) == 1:
        return ""
    each = [f"{reader_name(r['reader'])} (d' {in_line(r['d_prime'])})" for r in _first(able)]
    more = f" and {len(able) - len(each)} more" if len(able) > len(each) else ""
    return f"Shown for single readers, each tested alone: {listed(each)}{more}, of {len(readers)}."


def _first(readers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(readers, key=lambda reader: -reader["d_prime"]["value"])[:3]

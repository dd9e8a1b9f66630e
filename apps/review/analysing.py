"""The statistics of a study, computed by a worker and kept as plain data.

The web reads what is kept here and computes nothing. The same readings, protocol and seed give the
same content, whoever asks and whenever.
"""

import hashlib
import json
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.errors import MirageError
from apps.jobs.attempt import Attempt, carry_out
from apps.review.describing import describe
from apps.review.models import ReaderStudy, StudyAnalysis, StudyEvent
from apps.review.protocol import Arm, Question
from apps.review.ratings_of import (
    NUMERIC,
    Presentation,
    missing_readings,
    presentations_of,
    rated,
    ratings_of,
    sha256_of,
)

if TYPE_CHECKING:
    from apps.review.statistics import analysis as statistics

Progress = Callable[[float], None]
SOURCES = ("statistics", "analysing.py", "describing.py", "ratings_of.py")  # of the figures
EVERY_S = 0.5  # how often the page is told how far it is


class AnalysisError(MirageError):
    """The study has no figures; the text says what is missing."""


@cache
def script_version() -> str:
    """Our version and the first digits of a hash over the code that makes the figures."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    folder = settings.BASE_DIR / "apps" / "review"
    files = [path for name in SOURCES for path in sorted(folder.glob(f"{name}/*.py"))]
    files += [folder / name for name in SOURCES if name.endswith(".py")]
    found = hashlib.sha256()
    for path in files:
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{project['project']['version']}+{found.hexdigest()[:12]}"


def analyse_study(*, analysis_id: UUID) -> None:
    """Carry out one analysis; do nothing if another worker has it."""
    carry_out(StudyAnalysis, analysis_id, _analyse)


def _analyse(attempt: Attempt[StudyAnalysis]) -> None:
    job = attempt.job()
    content = content_of(job.study, progress=_told(attempt))
    with transaction.atomic():
        StudyEvent.objects.create(
            study=job.study,
            kind=StudyEvent.Kind.ANALYSED,
            actor=job.requested_by,
            details={key: content[key] for key in PROVENANCE},
            happened_at=timezone.now(),
        )
        attempt.finish(
            content=content,
            share_done=1.0,
            script_version=content["script_version"],
            ratings_sha256=content["ratings_sha256"],
        )


def _told(attempt: Attempt[StudyAnalysis]) -> Progress:
    """Write the progress now and then; a cancelled analysis stops there."""
    last = time.monotonic()

    def tell(share: float) -> None:
        nonlocal last
        attempt.raise_if_lost()
        if time.monotonic() - last < EVERY_S:
            return
        last = time.monotonic()
        with attempt.writing() as held:
            held.share_done = share
            held.save(update_fields=["share_done"])

    return tell


PROVENANCE = ("script_version", "protocol_sha256", "ratings_sha256", "seed", "replicates")


def content_of(study: ReaderStudy, *, progress: Progress) -> dict[str, Any]:
    """All figures of a study as plain data, with what they were made from.

    Raises:
        AnalysisError: nobody has read a case of the reference arm, or of any other.
        RatingsError: an answer is off its scale.
    """
    plan = study.plan
    presentations = rated(presentations_of(study))
    questions, unanswered = _questions(presentations, plan.questions)
    reference, compared, absent = _arms(presentations, plan.arms)
    flagged = {reader.number for reader in study.readers.all() if reader.knows_cases} & {
        each.reader for each in presentations
    }
    others = {each.reader for each in presentations} - flagged
    passes = 2 if flagged and others else 1

    def compute(without: frozenset[int], progress: Progress) -> dict[str, Any]:
        from apps.review.statistics.analysis import analyse  # noqa: PLC0415 - loads numpy

        found = analyse(
            ratings_of(presentations, without=without),
            questions,
            reference=reference,
            compared=compared,
            replicates=plan.replicates,
            seed=plan.seed,
            alpha=plan.alpha,
            progress=progress,
        )
        plain: dict[str, Any] = json.loads(json.dumps(asdict(found), allow_nan=False))
        return plain

    statistics = compute(frozenset(), lambda share: progress(share / passes))
    without = None
    if passes == 2:
        rest = compute(frozenset(flagged), lambda share: progress((1 + share) / passes))
        without = {"readers": sorted(others), "statistics": rest}
    return {
        "script_version": script_version(),
        "protocol_sha256": study.protocol_sha256,
        "ratings_sha256": sha256_of(presentations),
        "seed": plan.seed,
        "replicates": plan.replicates,
        "is_simulated": study.is_simulated,
        "reference": reference,
        "compared": compared,
        "arms_without_readings": absent,
        "unanswered": unanswered,
        "readers": _readers(study, presentations),
        "sources": _sources(study),
        "missing": missing_readings(study),
        "described": describe(presentations, plan.questions, [reference, *compared]),
        "statistics": statistics,
        "without_flagged": without,
    }


def _questions(
    presentations: Sequence[Presentation], asked: Sequence[Question]
) -> tuple[list["statistics.Question"], list[str]]:
    """What the statistics are told of the questions with numbers, and which nobody answered."""
    from apps.review.statistics import analysis  # noqa: PLC0415 - loads numpy

    answered = {
        answer.question.name
        for each in presentations
        for answer in each.answers
        if answer.number is not None
    }
    kinds = {"yes_no": "yes_no", "scale": "scale", "guess": "guess", "sign": "yes_no"}
    numeric = [question for question in asked if question.kind in NUMERIC]
    return [
        analysis.Question(
            name=question.name,
            kind=kinds[question.kind],  # type: ignore[arg-type]
            categories=question.categories,
            margin=question.margin,
        )
        for question in numeric
        if question.name in answered
    ], [question.name for question in numeric if question.name not in answered]


def _arms(
    presentations: Sequence[Presentation], arms: Sequence[Arm]
) -> tuple[str, list[str], list[str]]:
    """The reference, the arms held against it, and those that nobody has read."""
    read = {each.arm for each in presentations}
    reference, *others = [arm.value for arm in arms]
    compared = [arm for arm in others if arm in read]
    if reference not in read or not compared:
        raise AnalysisError(
            "There is nothing to compare: the submitted readings are not about two arms. The "
            "study was locked before its cases were read; make a new one."
        )
    return reference, compared, [arm for arm in others if arm not in read]


def _readers(study: ReaderStudy, presentations: Sequence[Presentation]) -> list[dict[str, Any]]:
    """Numbers, never names: whether a program reads, and whether the reader may know cases."""
    return [
        {
            "number": reader.number,
            "is_simulated": reader.is_simulated,
            "knows_cases": bool(reader.knows_cases),
            "readings": sum(each.reader == reader.number for each in presentations),
        }
        for reader in study.readers.order_by("number")
    ]


def made_by(study: ReaderStudy) -> dict[int, str]:
    """Of each case by number: a scanner, or the bundle that decoded its volume."""
    bundle = "pseudo_mri__prediction__run__bundle__"
    found = {}
    for number, arm, has_source, name, version, fingerprint in study.cases.values_list(
        "number", "arm", "pseudo_mri", f"{bundle}name", f"{bundle}version", f"{bundle}fingerprint"
    ):
        if arm == Arm.REAL:
            found[number] = "scanner"
        elif arm == Arm.RECONSTRUCTION:
            found[number] = "scanner, through the autoencoder"
        elif has_source is None:
            found[number] = "a pseudo-MRI that was deleted since"
        else:
            found[number] = f"bundle {name} {version}, {fingerprint[:12]}"
    return found


def _sources(study: ReaderStudy) -> list[dict[str, Any]]:
    """By arm, how many cases there are and what made them."""
    cases = study.cases.filter(is_practice=False).values_list("number", "arm")
    made = made_by(study)
    found = Counter((arm, made[number]) for number, arm in cases)
    return [{"arm": arm, "made_by": by, "cases": n} for (arm, by), n in sorted(found.items())]

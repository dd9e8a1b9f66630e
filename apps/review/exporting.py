"""Files of an unblinded study. Each names protocol, script and whether readers were simulated."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from apps.errors import MirageError
from apps.review.analysing import made_by, script_version
from apps.review.models import ReaderStudy, StudyAnalysis
from apps.review.ratings_of import presentations_of, rated
from apps.review.reporting import imrmc
from apps.review.reporting.tidy_csv import write_csv
from apps.review.reporting.words import RESEARCH, SIMULATED


class ExportKind(StrEnum):
    """What can be taken along, as the address says it."""

    PDF = "report.pdf"
    CSV = "ratings.csv"
    IMRMC = "arms.imrmc"
    IMRMC_DIAGNOSIS = "diagnosis.imrmc"
    JSON = "analysis.json"


class ExportError(MirageError):
    """The file needs something that the study does not have yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One file: what it is called, its bytes, and the code that made its figures."""

    name: str
    content_type: str
    content: bytes
    script_version: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def newest_figures(study: ReaderStudy) -> StudyAnalysis | None:
    """The newest analysis that came to its end."""
    done = study.analyses.filter(content__isnull=False)
    return done.order_by("-finished_at").first()


def write_export(study: ReaderStudy, kind: ExportKind, *, made_at: datetime) -> Export:
    """Make a file.

    Raises:
        ExportError: report and analysis need figures, and there are none yet.
        ImrmcError: too few cases for such a file.
    """
    content, version, content_type = _WRITERS[kind](study, made_at)
    return Export(
        name=f"mirage-study-{study.pk}-{kind.value}",
        content_type=content_type,
        content=content,
        script_version=version,
    )


Written = tuple[bytes, str, str]


def _pdf(study: ReaderStudy, made_at: datetime) -> Written:
    from apps.review.reporting.pdf import write_report  # noqa: PLC0415 - 0.2 s to load

    analysis, content = _figures(study)
    written = write_report(study, analysis, made_at=made_at)
    return written, content["script_version"], "application/pdf"


def _csv(study: ReaderStudy, made_at: datetime) -> Written:
    text = write_csv(
        presentations_of(study),
        study=study.pk,
        is_simulated=study.is_simulated,
        protocol_sha256=study.protocol_sha256,
        script_version=script_version(),
        flagged={reader.number for reader in study.readers.all() if reader.knows_cases},
        made_by=made_by(study),
    )
    return text.encode(), script_version(), "text/csv; charset=utf-8"


def _imrmc_arms(study: ReaderStudy, made_at: datetime) -> Written:
    reference, *compared = [arm.value for arm in study.plan.arms]
    text = imrmc.by_arm(
        rated(presentations_of(study)),
        reference=reference,
        compared=compared[0],
        head=_head(study, made_at),
    )
    return text.encode(), script_version(), "text/plain; charset=utf-8"


def _imrmc_diagnosis(study: ReaderStudy, made_at: datetime) -> Written:
    text = imrmc.by_diagnosis(rated(presentations_of(study)), head=_head(study, made_at))
    return text.encode(), script_version(), "text/plain; charset=utf-8"


def _json(study: ReaderStudy, made_at: datetime) -> Written:
    analysis, content = _figures(study)
    document = {
        "what": f"MIRAGE reader study {study.pk}, analysis. {RESEARCH}",
        "who_read": SIMULATED if study.is_simulated else "Readers of this installation.",
        "study": study.pk,
        "made_at": made_at.isoformat(timespec="seconds"),
        "analysis": str(analysis.pk),
        "protocol": study.protocol,
        **content,
    }
    text = json.dumps(document, indent=1, allow_nan=False)
    return text.encode(), content["script_version"], "application/json"


_WRITERS: Mapping[ExportKind, Callable[[ReaderStudy, datetime], Written]] = {
    ExportKind.PDF: _pdf,
    ExportKind.CSV: _csv,
    ExportKind.IMRMC: _imrmc_arms,
    ExportKind.IMRMC_DIAGNOSIS: _imrmc_diagnosis,
    ExportKind.JSON: _json,
}


def _figures(study: ReaderStudy) -> tuple[StudyAnalysis, dict[str, Any]]:
    analysis = newest_figures(study)
    if analysis is None or analysis.content is None:
        raise ExportError(
            "There are no figures yet. Wait until the analysis has ended, then take this file."
        )
    return analysis, analysis.content


def _head(study: ReaderStudy, made_at: datetime) -> Sequence[str]:
    """Free text above the data of an iMRMC file."""
    return [
        f"MIRAGE reader study {study.pk}. {RESEARCH}",
        *([SIMULATED] if study.is_simulated else []),
        f"Protocol sha256: {study.protocol_sha256}",
        f"Script version: {script_version()}",
        f"Volumes: {'; '.join(sorted(set(made_by(study).values())))}",
        f"Made: {made_at.isoformat(timespec='seconds')}",
    ]

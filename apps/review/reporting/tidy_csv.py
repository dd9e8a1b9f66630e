"""The ratings as a tidy table: one row for each answer to each question at each presentation."""

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from apps.patients.importing.error_file import safe
from apps.review.ratings_of import Presentation

COLUMNS = (
    "study",
    "readers_are_simulated",
    "protocol_sha256",
    "script_version",
    "reader",
    "reader_may_know_cases",
    "case",
    "arm",
    "volume_made_by",
    "diagnosis",
    "practice",
    "position",
    "repeat_of_position",
    "question",
    "kind",
    "answer",
    "first_answer",
    "amended",
    "amendment_reasons",
    "active_s",
    "submitted_at",
)


def write_csv(
    presentations: Iterable[Presentation],
    *,
    study: int,
    is_simulated: bool,
    protocol_sha256: str,
    script_version: str,
    flagged: Collection[int],
    made_by: Mapping[int, str],
) -> str:
    """All submitted answers, practice and repeats too, which say that they are.

    No cell is run as a formula by a spreadsheet program. Readers and cases are numbers; of a case
    its arm and whether AD or CN is recorded, and nothing else of a patient.

    Args:
        flagged: numbers of readers who may know cases.
        made_by: of each case, what made its volume.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    same = [study, _yes(is_simulated), protocol_sha256, script_version]
    for each in presentations:
        for answer in each.answers:
            cells = [
                *same,
                each.reader,
                _yes(each.reader in flagged),
                each.case,
                each.arm,
                made_by[each.case],
                {True: "AD", False: "CN", None: ""}[each.is_ad],
                _yes(each.is_practice),
                each.position,
                each.repeat_of,
                answer.question.name,
                answer.question.kind,
                _said(answer.given),
                _said(answer.first),
                _yes(bool(answer.reasons)),
                "; ".join(answer.reasons),
                each.active_s,
                each.submitted_at.isoformat(timespec="seconds"),
            ]
            writer.writerow([safe("" if cell is None else str(cell)) for cell in cells])
    return "\ufeff" + buffer.getvalue()  # spreadsheet programs then read UTF-8


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _said(answer: Any) -> str:
    if answer is None:
        return ""
    if isinstance(answer, Sequence) and not isinstance(answer, str):
        return "; ".join(map(str, answer))
    return str(answer)

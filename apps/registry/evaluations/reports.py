"""The report of an evaluation as one file, for a machine without this installation.

A file is called by its attempt, so that a worker that was thought lost never writes over it.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.errors import MirageError
from apps.patients.dependents import Leftover
from apps.patients.leftovers import is_old
from apps.registry.models import Evaluation
from ml.card import sha256_of

FIGURES = "report.json"
STAMP = (1980, 1, 1, 0, 0, 0)


class ReportError(MirageError):
    """The file of a report cannot be given."""


def report_of(evaluation: Evaluation) -> Path:
    """Where the file is, if there is one; of an evaluation under way, where it will be."""
    return _parent() / f"{evaluation.pk}.{evaluation.attempt}.zip"


def pack(folder: Path, out: Path) -> tuple[str, int]:
    """Write the files of a folder as a zip that is there when it is whole.

    Returns:
        Its SHA-256, and its size in bytes.

    Raises:
        ReportError: it could not be written.
    """
    draft = out.with_suffix(".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.iterdir()):
                entry = zipfile.ZipInfo(path.name, STAMP)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
        digest, size = sha256_of(draft), draft.stat().st_size
        draft.replace(out)
    except OSError as error:
        raise ReportError(
            f"The report could not be written to the media folder ({error.strerror}). Make room "
            "on the disk, then retry."
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return digest, size


def bytes_of(evaluation: Evaluation) -> bytes:
    """The file of a report, which is what the worker wrote: a few megabytes.

    Raises:
        ReportError: it is not there, or is another one.
    """
    try:
        found = report_of(evaluation).read_bytes() if evaluation.report_sha256 else b""
    except OSError:
        found = b""
    if not found:
        raise ReportError(
            "The file of this report is not there. Its figures are on this page; evaluate again "
            "to have the file."
        )
    if hashlib.sha256(found).hexdigest() != evaluation.report_sha256:
        raise ReportError(
            "The file of this report is not the one that was written (another SHA-256). Its "
            "figures are on this page; evaluate again to have the file."
        )
    return found


def figures_in(evaluation: Evaluation) -> bytes:
    """Every number of a report, as JSON.

    Raises:
        ReportError: see `bytes_of`.
    """
    with zipfile.ZipFile(BytesIO(bytes_of(evaluation))) as archive:
        return archive.read(FIGURES)


def forget_report(instance: Evaluation, **_: Any) -> None:
    """An evaluation whose row goes takes its file along, once that is committed."""
    transaction.on_commit(partial(report_of(instance).unlink, missing_ok=True))


def leftover_reports() -> Iterator[Leftover]:
    """Files that no evaluation names, and evaluations whose file is gone."""
    kept = Evaluation.objects.exclude(report_sha256="")
    needed = {report_of(each).name: each for each in kept.only("pk", "attempt")}
    active = tuple(str(pk) for pk in Evaluation.objects.active().values_list("pk", flat=True))
    for path in sorted(_parent().glob("*")):
        if path.name not in needed and not path.name.startswith(active or ("-",)) and is_old(path):
            yield Leftover(f"evaluations/{path.name}: a file without an evaluation", path.unlink)
    for name, evaluation in needed.items():
        if not (_parent() / name).exists():
            yield Leftover(
                f"evaluations/{name}: an evaluation whose report is gone",
                partial(_say_gone, evaluation),
            )


def _say_gone(evaluation: Evaluation) -> None:
    Evaluation.objects.filter(pk=evaluation.pk).update(report_sha256="", report_bytes=0)


def _parent() -> Path:
    return Path(settings.MEDIA_ROOT) / "evaluations"

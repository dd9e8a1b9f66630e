"""python -m apps.patients.scans.child SOURCE WORK: preprocess one scan within limits.

Started by `apps.patients.scans.sandbox`, without Django, database or keys. It says how it ended in
WORK/result.json and in no other way: what libraries print may quote a header, and a header names
people.
"""

import gzip
import json
import resource
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

RESULT = "result.json"
VOLUME, PICTURE = "volume.nii", "picture.png"
MAX_ADDRESSES_BYTES = 24 * 2**30  # libraries map far more than they use; a net under the sandbox
MAX_FILE_BYTES = 3 * 2**30  # of each file that it writes
MAX_CPU_S = 10 * 60


def main(source: Path, work: Path) -> None:
    """Preprocess `source` and write what came of it into `work`."""
    _limit()
    try:
        said = _preprocess(source, work)
    except Exception as error:  # told to the parent, without the error's own words
        said = {"crash": _place_of(error)}
    draft = work / f"{RESULT}.part"
    draft.write_text(json.dumps(said, allow_nan=False), encoding="utf-8")
    draft.rename(work / RESULT)


def _preprocess(source: Path, work: Path) -> dict[str, Any]:
    from ml.data.preprocessing import (  # noqa: PLC0415 - after the limits are set
        QualityError,
        ScanError,
        preprocess,
    )
    from ml.data.structures import CALIBRATION  # noqa: PLC0415 - as above

    made = work / "made"
    try:
        done = preprocess(source, made)
    except QualityError as error:
        shutil.move(error.picture, work / PICTURE)
        return {"refused": str(error), "qc": _figures(error.quality)}
    except ScanError as error:
        return {"refused": str(error)}
    with gzip.open(done.registered) as packed, (work / VOLUME).open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    errors_ml = {name: CALIBRATION[name][2] / done.head_scale for name in done.volumes_ml}
    facts = {
        "spacing_mm": done.spacing_mm,
        "head_scale": done.head_scale,
        "volume_errors_ml": errors_ml,
    }
    return {"qc": _figures(done.quality) | facts, "volumes_ml": done.volumes_ml}


def _figures(quality: Any) -> dict[str, float]:
    return {
        "correlation": round(quality.correlation, 4),
        "overlap": round(quality.overlap, 4),
        "brain_ml": round(quality.brain_ml, 1),
    }


def _limit() -> None:
    for what, most in (
        (resource.RLIMIT_AS, MAX_ADDRESSES_BYTES),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_CPU, MAX_CPU_S),
        (resource.RLIMIT_CORE, 0),  # a core file would hold the head
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, hard))


def _place_of(error: Exception) -> str:
    """Kind of an error and the lines it came through; its text may quote the file."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

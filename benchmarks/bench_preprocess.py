"""One 1 mm T1 of a head, from the file to the 2 mm grid. Limits: 40 s and 3 GB on two cores.

With the real scan of OASIS-1 beside the repository, also the Dice overlap with FreeSurfer's brain
and volumes beside FreeSurfer's; without it, a head made of the phantom's brain.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.stack import ROOT, record
from ml.data.quality import overlap

LIMIT_S, LIMIT_MB = 40, 3000
REAL = ROOT.parent / "shared" / "data" / "raw_t1" / "OAS1_0001"
FREESURFER = {
    "hippocampus": ("Hippocampus",),
    "amygdala": ("Amygdala",),
    "lateral ventricles": ("Lateral-Ventricle", "Inf-Lat-Vent"),
    "cortex": ("Cerebral-Cortex",),
}
CHILD = """
import json, pathlib, re, sys, time
began = time.perf_counter()
import torch
from ml.data.preprocessing import preprocess
from ml.data.registration import use_threads
torch.set_num_threads(2)
use_threads(2)
done = preprocess(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps({
    "with_imports_s": round(time.perf_counter() - began, 1),
    "processor_s": round(time.process_time(), 1),
    "preprocess_s": done.duration_s,
    "peak_mb": round(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024),
    "correlation": round(done.quality.correlation, 3),
    "overlap": round(done.quality.overlap, 3),
    "brain_ml": round(done.quality.brain_ml),
    "volumes_ml": {name: round(ml, 2) for name, ml in done.volumes_ml.items()},
}))
"""


def main() -> None:
    load = os.getloadavg()[0]  # of a busy machine only processor_s means anything
    with tempfile.TemporaryDirectory() as folder:
        source = REAL / "orig.mgz" if REAL.exists() else _phantom(Path(folder))
        out = Path(folder, "out")
        run = subprocess.run(
            [sys.executable, "-c", CHILD, str(source), str(out)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        figures: dict[str, Any] = json.loads(run.stdout)
        if REAL.exists():
            figures |= _beside_freesurfer(out / "orig_mask.nii.gz")
    record(
        "preprocess",
        scan="OASIS-1, 256 x 256 x 256 at 1 mm" if REAL.exists() else "phantom head at 1 mm",
        load_before=round(load, 1),
        limit_s=LIMIT_S,
        limit_mb=LIMIT_MB,
        **figures,
        passed=figures["with_imports_s"] <= LIMIT_S and figures["peak_mb"] <= LIMIT_MB,
    )


def _phantom(folder: Path) -> Path:
    from tests.phantom_head import make_head

    return make_head(spacing_mm=1.0).save(folder / "orig.nii.gz")


def _beside_freesurfer(mask: Path) -> dict[str, Any]:
    """Dice overlap with its brain mask, and its volumes in ml."""
    reference = np.asarray(nib.load(REAL / "brainmask.mgz").dataobj) > 0
    ours = np.asarray(nib.load(mask).dataobj) > 0
    stats = (REAL / "aseg.stats").read_text()
    volumes = {
        name: sum(
            float(mm3) / 1000
            for part in parts
            for mm3 in re.findall(rf"\d+\s+\d+\s+\d+\s+([\d.]+)\s+(?:Left|Right)-{part}\s", stats)
        )
        for name, parts in FREESURFER.items()
    }
    [brain] = re.findall(r"BrainSegVol, [^,]+, ([\d.]+)", stats)
    return {
        "dice_freesurfer": round(overlap(ours, reference), 4),
        "freesurfer_ml": {name: round(ml, 2) for name, ml in volumes.items()}
        | {"brain with ventricles": round(float(brain) / 1000, 1)},
    }


if __name__ == "__main__":
    main()

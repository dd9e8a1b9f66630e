"""The commands that make data; what they need is imported when they run."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Lay real T1 scans over MNI152: bias, brain, affine, z-score, quality control.

    Scans are done in parallel; those that were done before are skipped. The exit status is 0 only
    if every scan went in, 1 if some did not.

    Attributes:
        input: a scan (.nii, .nii.gz, .mgh, .mgz, or a .zip of one DICOM series) or a folder.
        out: folder for NAME_mni152_2mm.nii.gz, NAME_mask.nii.gz and NAME_qc.json.
        spacing_mm: voxel edge of the registered volumes.
        workers: scans at a time; as many as processors if 0.
        json: print JSON instead of text.
    """

    input: Annotated[Path, tyro.conf.arg(name="in")]
    out: Path
    spacing_mm: Literal[2, 1] = 2
    workers: int = 0
    json: bool = False

    def run(self) -> None:
        """Preprocess and say what did not go in, and why."""
        from tqdm import tqdm

        from ml.data.preprocess_batch import preprocess_all, summary

        with tqdm(desc="scans", file=sys.stderr) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            outcomes = preprocess_all(
                self.input,
                self.out,
                spacing_mm=self.spacing_mm,
                workers=self.workers or None,
                progress=move,
            )
        report = summary(outcomes)
        if self.json:
            print(json.dumps(report, indent=2))
        else:
            counts = ", ".join(f"{count} {state}" for state, count in report["counts"].items())
            print(f"{report['scans']} scans in {self.out}: {counts}")
            for each in report["not_in"]:
                print(f"  {each['source']}: {each['reason']}")
        if report["not_in"]:
            sys.exit(1)

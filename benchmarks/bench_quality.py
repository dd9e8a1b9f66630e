"""Quality control on OASIS-1's volumes that others registered: what it refuses of good and failed.

`registration_qc.csv` beside the repository says which failed (correlation under .45). Without that
folder there is nothing to measure.
"""

import csv

from benchmarks.stack import ROOT, record
from ml.data.mri import grid, read_volume
from ml.data.quality import LEAST_CORRELATION, LEAST_OVERLAP, measure_quality

OASIS = ROOT.parent / "shared" / "data" / "oasis1"
FAILED_BELOW = 0.45
BRAIN_ML = 1400.0  # the volumes are scaled to the template: nobody's own size is known


def main() -> None:
    if not OASIS.exists():
        print("OASIS-1 is not beside the repository: nothing to measure.")
        return
    on = grid(2.0)
    refused: dict[bool, list[bool]] = {True: [], False: []}
    correlation: dict[bool, list[float]] = {True: [], False: []}
    with (OASIS / "registration_qc.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            failed = float(row["corr_mni"]) < FAILED_BELOW
            voxels = read_volume(OASIS / "volumes" / f"{row['ID']}.nii.gz", on)
            quality = measure_quality(voxels, voxels > 0, on, brain_ml=BRAIN_ML)
            refused[failed].append(bool(quality.problems))
            correlation[failed].append(quality.correlation)
    record(
        "quality",
        least_correlation=LEAST_CORRELATION,
        least_overlap=LEAST_OVERLAP,
        failed=len(refused[True]),
        failed_refused=sum(refused[True]),
        highest_correlation_of_failed=round(max(correlation[True]), 3),
        good=len(refused[False]),
        good_refused=sum(refused[False]),
        lowest_correlation_of_good=round(min(correlation[False]), 3),
        passed=all(refused[True]) and not any(refused[False]),
    )


if __name__ == "__main__":
    main()

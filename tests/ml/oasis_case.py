"""A folder in the form of OASIS-1, of phantoms at 8 mm: nobody of the real one is in it."""

import csv
import shutil

import numpy as np

from ml.data.cohort import Cohort
from ml.data.phantom import PhantomConfig, make_phantom_cohort

COLUMNS = ["ID", "M/F", "Hand", "Age", "Educ", "eTIV", "nWBV", "ASF", "Delay", "MMSE", "CDR", "SES"]
YOUNG, FAILED, LOST = 12, 2, 1
"""People without CDR, scans that were registered wrongly, sessions without a scan."""


def write_oasis(folder, people=60, seed=5):
    """Phantoms with OASIS-1's columns; the first has a second session some weeks later."""
    make_phantom_cohort(
        folder / "phantoms",
        patients=people,
        spacing_mm=8.0,
        seed=seed,
        config=PhantomConfig(ad_severity=6.0),  # few people: what scans show must be plain
    )
    cohort = Cohort.load(folder / "phantoms")
    rng = np.random.default_rng(seed)
    rows, quality = [], []
    (folder / "volumes").mkdir()
    for number, who in enumerate(cohort.participants):
        young = number < YOUNG
        row = dict.fromkeys(COLUMNS, "")
        row |= {"M/F": who.sex, "Hand": "R", "eTIV": "1400", "nWBV": "0.75", "ASF": "1.2"}
        row["Age"] = str(20 + number if young else rng.integers(60, 90))
        if not young:
            row |= {"Educ": f"{rng.integers(1, 6)}.0", "SES": f"{rng.integers(1, 6)}.0"}
            row |= {"CDR": "0.5" if who.label else "0.0"}
            row["MMSE"] = f"{rng.integers(18, 27) if who.label else rng.integers(26, 31)}.0"
        for visit in (1, 2) if number == 0 else (1,):
            row = row | {"ID": f"OAS1_{number:04d}_MR{visit}"}
            rows.append(row)
            good = number < people - FAILED - LOST
            quality.append({"ID": row["ID"], "corr_mni": "0.61" if good else "0.31"})
            if number < people - LOST:
                scan = folder / "volumes" / f"{row['ID']}.nii.gz"
                shutil.copy(cohort.scan_path(who.id), scan)
    for name, table in (("oasis_cross-sectional.csv", rows), ("registration_qc.csv", quality)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    return folder

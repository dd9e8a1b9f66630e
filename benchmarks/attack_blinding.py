"""Somebody who has all that a reader's browser gets, but the voxels, guesses the arm.

`python -m benchmarks.attack_blinding` opens a study of 200 cases in a database of its own, lets two
readers read it to the end through the real pages, and trains a random forest, cross-validated, on
lengths, headers, times, tokens, places, JSON and pages. The 95 % interval of its area under the
curve must include one half; the control, the same forest on the first 352 bytes of the sources as
they are stored, must not. Two lengths show why study copies are not compressed.
"""

import gzip
import os
import time
from pathlib import Path

from benchmarks.stack import empty_database, record

CASES_PER_ARM, READERS = 100, 2
LEVEL = 0.95


def main() -> None:
    with empty_database() as folder:
        from django.test import Client
        from django.test.utils import setup_test_environment

        from tests.review.attacker import read_all
        from tests.review.factories import make_open_study

        setup_test_environment()
        study = make_open_study(
            readers=READERS, cases_per_arm=CASES_PER_ARM, practice_cases=0, repeat_share=0.1
        )
        started = time.monotonic()
        readers = study.readers.order_by("number")
        seen = [each for reader in readers for each in read_all(Client(), reader, _answers())]
        _report(folder / "media", seen, time.monotonic() - started)


def _answers() -> dict[str, object]:
    from tests.review.test_reading import COMPLETE

    return {f"answer-{name}": value for name, value in COMPLETE.items()}


def _report(media: Path, seen: list, read_s: float) -> None:  # type: ignore[type-arg]
    import numpy as np
    from scipy.stats import ks_2samp

    from apps.review.models import Slot
    from tests.review.attacker import attack, features_of

    slots = {slot.token: slot for slot in Slot.objects.select_related("case")}
    is_synthetic = np.array([int(slots[each.token].case.arm != "real") for each in seen])
    times = np.array([each.seconds["volume"] for each in seen])
    area = attack(features_of(seen), is_synthetic, sure=LEVEL)
    copies, sources = [], []
    for each in seen:
        case = slots[each.token].case
        copies.append((media / case.file).read_bytes())
        sources.append((media / (case.scan or case.pseudo_mri).file).read_bytes())
        each.bodies = {"volume": sources[-1][:352]}
    control = attack(features_of(seen), is_synthetic, sure=LEVEL)
    packed = np.array([len(gzip.compress(copy)) for copy in copies])
    record(
        "attack_blinding",
        presentations=len(seen),
        auc=_figure(area),
        auc_of_sources_as_stored=_figure(control),
        time_to_volume_ks_p=round(
            float(ks_2samp(times[is_synthetic == 0], times[is_synthetic == 1]).pvalue), 3
        ),
        bytes_of_copies=sorted({len(copy) for copy in copies}),
        mean_bytes_if_compressed={
            "real": int(packed[is_synthetic == 0].mean()),
            "pseudo_mri": int(packed[is_synthetic == 1].mean()),
        },
        reading_s=round(read_s, 1),
        load_when_done=round(os.getloadavg()[0], 1),
        passed=bool(area[1] <= 0.5 <= area[2] and control[1] > 0.5),
    )


def _figure(area: tuple[float, float, float]) -> dict[str, float]:
    value, low, high = area
    return {"value": round(value, 3), "low": round(low, 3), "high": round(high, 3)}


if __name__ == "__main__":
    main()

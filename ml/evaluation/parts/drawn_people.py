"""Pseudo-MRIs of some people beside their scans: drawn once, and what is read off them kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml.data.mri import Grid, brain_mask, grid, intensity_range
from ml.data.regions import regional_volumes_ml
from ml.evaluation.parts.trial import Progress, Trial
from ml.losses import ssim
from ml.records import PatientRecord
from ml.volume_classifier import VolumeClassifier

AT_ONCE = 4
LIKENESS = ("ssim", "psnr_db", "l1")


@dataclass(frozen=True, slots=True)
class Guesses:
    """What is read off one kind of picture, person by person.

    Attributes:
        regions_ml: volumes of `ml.data.regions`.
        likeness: SSIM, PSNR in dB and mean absolute distance to the own scan, inside the brain;
            no figure without a scan.
        coarse: what the CNN looks at; empty without a CNN.
    """

    regions_ml: Float[Tensor, "people regions"]
    likeness: Float[Tensor, "people figures"]
    coarse: Float[Tensor, "people ..."]


@dataclass(frozen=True, slots=True)
class DrawnPeople:
    """People with their pseudo-MRIs, and with their scans where there are any.

    Attributes:
        labels: 1 AD, 0 CN.
        places: rows of the judges that these are; none for others.
        pseudo: drawn from the record.
        mean: the picture of the mean surrogate, the same for everybody.
        scans: as acquired; None if these people have none.
    """

    labels: Int[np.ndarray, " people"]
    places: Int[np.ndarray, " judges"]
    pseudo: Guesses
    mean: Guesses
    scans: Guesses | None

    def __len__(self) -> int:
        return len(self.labels)


def drawn_judges(trial: Trial, most: int, progress: Progress) -> DrawnPeople:
    """The first judges who have a scan, drawn; without any scan the first judges.

    Raises:
        VolumeError: a scan cannot be used.
    """
    scanned = set(trial.cohort.ids_with_scan())
    with_scan = [place for place, each in enumerate(trial.people.ids) if each in scanned]
    places = (with_scan or list(range(len(trial.people))))[:most]
    return draw_people(
        trial,
        [trial.people.records[place] for place in places],
        trial.people.labels[places],
        [trial.people.ids[place] for place in places] if with_scan else None,
        lambda done, total: progress("pseudo-MRIs", done, total),
        places=np.array(places, dtype=np.int64),
    )


@torch.no_grad()
def draw_people(
    trial: Trial,
    records: Sequence[PatientRecord],
    labels: Int[np.ndarray, " people"],
    scan_ids: Sequence[str] | None,
    progress: Callable[[int, int], None],
    *,
    places: Int[np.ndarray, " judges"] | None = None,
) -> DrawnPeople:
    """Draw everybody as the bundle does for a new patient, some at a time; no volume is kept.

    Args:
        trial: whose bundle draws.
        records, labels: of the people.
        scan_ids: under which the cohort has their scans; None if it has none.
        progress: told how many are drawn, and of how many.
        places: rows of the judges that these are.

    Raises:
        VolumeError: a scan cannot be used.
    """
    here = grid(trial.mirage.profile.spacing_mm)
    surrogate = trial.mirage.surrogate(trial.mirage.scaler.encode(records))
    still = trial.drawer(surrogate.mean(0, keepdim=True))[:, 0]
    desk = _Desk(trial, here)
    for rows in torch.split(torch.arange(len(records)), AT_ONCE):
        pseudo = trial.drawer(surrogate[rows])[:, 0]
        scans = None
        if scan_ids is not None:
            ids = [scan_ids[row] for row in rows.tolist()]
            scans = torch.from_numpy(trial.cohort.normalised_volumes(ids, here)).float()
            desk.read("scans", scans, None)
        desk.read("pseudo", pseudo, scans)
        desk.read("mean", still.expand(len(rows), -1, -1, -1), scans)
        progress(int(rows[-1]) + 1, len(records))
    return DrawnPeople(
        labels=labels,
        places=np.zeros(0, dtype=np.int64) if places is None else places,
        pseudo=desk.guesses("pseudo"),
        mean=desk.guesses("mean"),
        scans=desk.guesses("scans") if scan_ids is not None else None,
    )


class _Desk:
    """Reads volumes as they come and keeps what was read, by the kind of picture."""

    def __init__(self, trial: Trial, here: Grid) -> None:
        self._grid = here
        self._mask = torch.from_numpy(brain_mask(here).copy())
        self._span = intensity_range(here)
        reader = trial.reader
        self._cnn = None if reader is None else cast("VolumeClassifier", reader.members[0])
        self._read: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def read(
        self,
        kind: str,
        volumes: Float[Tensor, "people x y z"],
        scans: Float[Tensor, "people x y z"] | None,
    ) -> None:
        likeness = torch.zeros(len(volumes), 0) if scans is None else self._alike(volumes, scans)
        coarse = torch.zeros(len(volumes), 0) if self._cnn is None else self._cnn.coarse(volumes)
        regions_ml = regional_volumes_ml(volumes, self._grid)
        self._read.setdefault(kind, []).append((regions_ml, likeness, coarse.clone()))

    def guesses(self, kind: str) -> Guesses:
        regions_ml, likeness, coarse = (
            torch.cat(parts) for parts in zip(*self._read[kind], strict=True)
        )
        return Guesses(regions_ml, likeness, coarse)

    def _alike(self, volumes: Tensor, scans: Tensor) -> Float[Tensor, "people 3"]:
        """SSIM, PSNR in dB and mean absolute distance, over the voxels of the brain mask."""
        gap = (volumes - scans)[:, self._mask]
        return torch.stack(
            [
                ssim(volumes[:, None], scans[:, None], self._mask, data_range=self._span),
                10 * torch.log10(self._span**2 / gap.square().mean(1)),
                gap.abs().mean(1),
            ],
            dim=1,
        )

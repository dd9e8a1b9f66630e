"""The training people as tensors, the same for every stage."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor

from ml.patient_graph import Findings


class NothingToLearnError(ValueError):
    """Some training people have neither a scan nor a label."""


@dataclass(frozen=True, slots=True)
class TrainingPeople:
    """People with an EHR and a scan, a label, or both. Nobody of test is ever in here.

    Attributes:
        persons: who each row is; visits of one person share it.
        findings: from the EHR, on training scales.
        volumes: normalised scans; zeros for people without one.
        latent: z of the scans; NaN for people without one.
        regions_ml: regional volumes read off the scans (`ml.data.regions`); NaN likewise.
        label: 1 AD, 0 CN, NaN not recorded.
        fold: part of each row; all visits of a person are in one part.
    """

    persons: tuple[str, ...]
    findings: Findings
    volumes: Float16[Tensor, "patients x y z"]
    latent: Float[Tensor, "patients width"]
    regions_ml: Float[Tensor, "patients regions"]
    label: Float[Tensor, " patients"]
    fold: Int[Tensor, " patients"]

    def __post_init__(self) -> None:
        useless = int((~self.scanned & self.label.isnan()).sum())
        if useless:
            raise NothingToLearnError(
                f"{useless} of {len(self)} training people have neither a scan nor a label, so "
                "nothing can be learned from their records. Leave them out."
            )

    def __len__(self) -> int:
        return len(self.persons)

    @property
    def scanned(self) -> Bool[Tensor, " patients"]:
        """Who has a scan."""
        return ~self.latent.isnan().any(1)

    def with_scan(self) -> "TrainingPeople":
        """Those who have a scan."""
        scanned = self.scanned
        return self if bool(scanned.all()) else self.rows(scanned.nonzero().squeeze(1))

    @classmethod
    def of(
        cls,
        persons: tuple[str, ...],
        findings: Findings,
        scanned: Bool[Tensor, " patients"],
        volumes: Float16[Tensor, "scans x y z"],
        latent: Float[Tensor, "scans width"],
        regions_ml: Float[Tensor, "scans regions"],
        label: Float[Tensor, " patients"],
        fold: Int[Tensor, " patients"],
    ) -> "TrainingPeople":
        """People of whom some have a scan.

        Args:
            scanned: who has one; `volumes`, `latent` and `regions_ml` are theirs, in this order.

        Raises:
            NothingToLearnError: somebody has neither a scan nor a label.
        """
        return cls(
            persons,
            findings,
            _placed(volumes, scanned, 0.0),
            _placed(latent, scanned, torch.nan),
            _placed(regions_ml, scanned, torch.nan),
            label,
            fold,
        )

    def rows(self, index: Int[Tensor, " some"]) -> "TrainingPeople":
        """Some of the people; their scans are shared, not copied, until they are read."""
        return TrainingPeople(
            tuple(self.persons[row] for row in index.tolist()),
            self.findings.rows(index),
            self.volumes[index],
            self.latent[index],
            self.regions_ml[index],
            self.label[index],
            self.fold[index],
        )


def _placed(values: Tensor, scanned: Bool[Tensor, " patients"], elsewhere: float) -> Tensor:
    """Rows of the scanned people among those of everybody."""
    if bool(scanned.all()):
        return values
    whole = values.new_full((len(scanned), *values.shape[1:]), elsewhere)
    whole[scanned] = values
    return whole


def soft_target(
    label: Float[Tensor, " patients"], teacher: Float[Tensor, " patients"], teacher_share: float
) -> Float[Tensor, " patients"]:
    """What a student is to say: label and teacher mixed, or the one of them that there is.

    Example:
        >>> label = torch.tensor([1.0, float("nan"), 1.0])
        >>> soft_target(label, torch.tensor([0.5, 0.25, float("nan")]), 0.5)
        tensor([0.7500, 0.2500, 1.0000])
    """
    mixed = torch.lerp(label, teacher, teacher_share)
    return torch.where(label.isnan(), teacher, torch.where(teacher.isnan(), label, mixed))

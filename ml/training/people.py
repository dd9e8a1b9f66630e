"""The training people as tensors, the same for every stage."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from ml.patient_graph import Findings


@dataclass(frozen=True, slots=True)
class TrainingPeople:
    """People with an EHR and a scan. Nobody of validation or test is ever in here.

    Attributes:
        persons: who each row is; visits of one person share it.
        findings: from the EHR, on training scales.
        volumes: normalised scans.
        latent: z of the scans.
        regions_ml: regional volumes read off the scans (`ml.data.regions`).
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

    def __len__(self) -> int:
        return len(self.persons)

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


def soft_target(
    label: Float[Tensor, " patients"], teacher: Float[Tensor, " patients"], teacher_share: float
) -> Float[Tensor, " patients"]:
    """What a student is to say: label and teacher mixed, the teacher alone where no label is.

    Example:
        >>> label = torch.tensor([1.0, float("nan")])
        >>> soft_target(label, torch.tensor([0.5, 0.25]), 0.5)
        tensor([0.7500, 0.2500])
    """
    mixed = torch.lerp(label, teacher, teacher_share)
    return torch.where(label.isnan(), teacher, mixed)

"""The second way to a probability: CNNs on the pseudo-MRI, and what they add to the surrogate."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml.config import ClassifierConfig
from ml.diagnosis import Calibration
from ml.patient_graph import Findings
from ml.volume_classifier import VolumeClassifier

PARTS = ("surrogate", "cnn", "record")
"""What is fused: the logits of surrogate, CNN on the pseudo-MRI, and logistic regression."""


class PseudoMRIReader(nn.Module):
    r"""CNNs trained on real MRIs, applied to pseudo-MRIs, and their fusion with the other readers.

    $$p_{cnn} = \sigma(a\,\bar c + b), \qquad
      p_{fused} = \sigma(w_s\,\bar l + w_c\,\bar c + w_r\,r + v)$$

    with the members' mean logits of surrogate $\bar l$ and CNN $\bar c$, and the logit r of a
    logistic regression on the record alone. There is one CNN for each part of the training people,
    trained without it, so that all weights here are fitted on people whom no reader had seen.

    Paper: section of the evaluation, 'CNN on synthesised MRI' and its rows '+Syn': logistic
    regression on the probabilities of the EHR baseline and of the CNN. The surrogate as a third
    input, cross-fitting and calibration are ours.

    Args:
        config: of the CNNs.
        spacing_mm: voxel edge of the pseudo-MRIs.
        members: how many CNNs.
        columns: of the finding scaler.
        regions: regional volumes that a CNN learns beside the diagnosis.
    """

    record_weight: Tensor
    record_bias: Tensor
    fusion_weight: Tensor
    fusion_bias: Tensor

    def __init__(
        self,
        config: ClassifierConfig,
        spacing_mm: float,
        *,
        members: int,
        columns: int,
        regions: int,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            VolumeClassifier(config, spacing_mm, regions) for _ in range(members)
        )
        self.calibration = Calibration()
        self.register_buffer("record_weight", torch.zeros(columns))
        self.register_buffer("record_bias", torch.tensor(0.0))
        self.register_buffer("fusion_weight", torch.zeros(len(PARTS)))
        self.register_buffer("fusion_bias", torch.tensor(0.0))

    @torch.no_grad()
    def cnn_logit(self, volumes: Float[Tensor, "patients x y z"]) -> Float[Tensor, " patients"]:
        """Mean logit of the CNNs on normalised volumes, scans and pseudo-MRIs alike."""
        coarse = cast("VolumeClassifier", self.members[0]).coarse(volumes)
        return torch.stack([member(coarse).logit for member in self.members]).mean(0)

    def cnn_probability(self, cnn_logit: Float[Tensor, " patients"]) -> Float[Tensor, " patients"]:
        """Calibrated P(AD) of the CNN on pseudo-MRIs."""
        return self.calibration.probability(cnn_logit)

    def record_logit(self, findings: Findings) -> Float[Tensor, " patients"]:
        """Logit of the logistic regression on the record alone."""
        return findings.dense(len(self.record_weight)) @ self.record_weight + self.record_bias

    def fused_probability(
        self,
        surrogate_logit: Float[Tensor, " patients"],
        cnn_logit: Float[Tensor, " patients"],
        findings: Findings,
    ) -> Float[Tensor, " patients"]:
        """Calibrated P(AD) of surrogate, CNN on the pseudo-MRI and record together."""
        parts = torch.stack([surrogate_logit, cnn_logit, self.record_logit(findings)], dim=1)
        return torch.sigmoid(parts @ self.fusion_weight + self.fusion_bias)

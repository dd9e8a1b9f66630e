r"""The whole model in the paper's order. Read this file first.

    record  ->  findings  ->  z~  ->  z'  ->  z^  ->  probability of AD
                                              |
                                              +-- with averaged skips -->  pseudo-MRI

Phase 1 (`ml.unet`, `ml.training.pretrain_unet`) trains an autoencoder of MRIs and freezes its
decoder. Phase 2 (`ml.graph_encoder`, `ml.training.propagate`) places patients on a knowledge graph
and learns to guess the MRI latent of patients whose MRI is hidden. Phase 3 (`ml.whitening`,
`ml.adapter`, `ml.skip_bank`, `ml.training.distill`) aligns that guess with real latents, so that
the decoder and a diagnosis head can read it. Phase 4 is this file: an EHR alone goes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml.adapter import Adapter
from ml.config import Profile
from ml.diagnosis import Calibration, DiagnosisHead, Familiarity
from ml.patient_graph import Findings, FindingScaler
from ml.skip_bank import SkipBank
from ml.surrogate import SurrogateReader
from ml.unet import Decoder
from ml.whitening import WhiteningColoring


class Member(nn.Module):
    """The paper's model once, trained without one part of the training people.

    Attributes:
        reader: phase 2, graph embedding z~ from findings.
        alignment: phase 3, z' with the moments of MRI latents.
        adapter: phase 3, the surrogate z^.
        head: phase 3, the logit of AD.
    """

    def __init__(self, profile: Profile, columns: int) -> None:
        super().__init__()
        width = profile.unet.width
        self.reader = SurrogateReader(profile.graph, columns, width)
        self.alignment = WhiteningColoring.empty(width)
        self.adapter = Adapter(width, profile.distill.adapter_width)
        self.head = DiagnosisHead(width)

    def surrogate(
        self, embedding: Float[Tensor, "patients width"]
    ) -> Float[Tensor, "patients width"]:
        """z^ = A(WC(z~))."""
        aligned: Tensor = self.adapter(self.alignment(embedding))
        return aligned


@dataclass(frozen=True, slots=True)
class Reading:
    """What the members say about some patients.

    Attributes:
        embedding: z~, mean of the members.
        surrogate: z^, mean of the members; what the decoder gets.
        logits: of AD, member by member.
    """

    embedding: Float[Tensor, "patients width"]
    surrogate: Float[Tensor, "patients width"]
    logits: Float[Tensor, "members patients"]


class Mirage(nn.Module):
    """MIRAGE for patients with an EHR alone.

    Paper: one model. Ours has a member for each part of the training people, trained without it:
    what calibration, conformal sets and the interval need must come from people whom the model
    had not seen (method.md trap 10), and the mean of the members answers.

    Args:
        scaler: findings from records, on the scale of the training people.
        profile: sizes of the parts.
    """

    def __init__(self, scaler: FindingScaler, profile: Profile) -> None:
        super().__init__()
        self.profile = profile
        self.scaler = scaler
        self.members = nn.ModuleList(
            Member(profile, len(scaler.columns)) for _ in range(profile.distill.folds)
        )
        self.calibration = Calibration()
        self.familiarity = Familiarity(profile.unet.width)

    @torch.no_grad()
    def read(self, findings: Findings) -> Reading:
        """Phase 2 and 3 for patients that are not in the graph; no voxel is computed."""
        embeddings, surrogates, logits = [], [], []
        for each in self.members:
            member = cast("Member", each)
            embedding = member.reader(findings)
            surrogate = member.surrogate(embedding)
            embeddings.append(embedding)
            surrogates.append(surrogate)
            logits.append(member.head(surrogate))
        return Reading(
            torch.stack(embeddings).mean(0), torch.stack(surrogates).mean(0), torch.stack(logits)
        )

    def surrogate(self, findings: Findings) -> Float[Tensor, "patients width"]:
        """The surrogate z^ of each patient's MRI: a latent, not an image."""
        return self.read(findings).surrogate

    def probability(self, findings: Findings) -> Float[Tensor, " patients"]:
        """Calibrated P(AD) of each patient."""
        probability: Tensor = self.calibration.probability(self.read(findings).logits.mean(0))
        return probability


class PseudoMRIDecoder(nn.Module):
    r"""The frozen decoder and the donors' skips: what turns a surrogate into a volume.

    $$\hat x = D(\hat z, \{\hat s^l\})$$

    Paper: Eq. 5 and phase 4. It is not run unless a pseudo-MRI is asked for, so a bundle keeps it
    in a file of its own.
    """

    def __init__(self, decoder: Decoder, skip_bank: SkipBank) -> None:
        super().__init__()
        self.decoder = decoder.freeze()
        self.skip_bank = skip_bank

    @torch.no_grad()
    def forward(
        self,
        surrogate: Float[Tensor, "patients width"],
        exclude: Sequence[str] | None = None,
    ) -> Float[Tensor, "patients 1 x y z"]:
        """Decode surrogates into normalised pseudo-MRIs.

        Args:
            surrogate: z^.
            exclude: for training patients, the person of each, whose own skips are not used.
        """
        skips, _ = self.skip_bank.aggregate(surrogate, exclude)
        volumes: Tensor = self.decoder(surrogate, skips)
        return volumes

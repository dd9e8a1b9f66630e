"""From surrogates to answers: the head, its calibration, its doubts, and who is too unlike."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ml.records import Answer
from ml.whitening import shrunk_covariance

INTERVAL_NORMAL_QUANTILE = 1.959964


class DiagnosisHead(nn.Module):
    r"""The logit of AD from a surrogate: $h(\hat z) = w^\top \hat z + b$.

    Paper: the head h of Eq. 6; its form is not given. Linear is ours: it starts as the head that
    was fitted on real latents, so that the surrogate is read as a scan would be.

    Shape:
        forward: `(patients, width) -> (patients,)`
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, surrogate: Float[Tensor, "patients width"]) -> Float[Tensor, " patients"]:
        logit: Tensor = self.linear(surrogate).squeeze(1)
        return logit


class Calibration(nn.Module):
    r"""Probabilities that mean what they say, an interval around them, and class-conditional sets.

    $$p = \sigma(a\,\bar l + c), \qquad
      \mathrm{var}(\operatorname{logit} p) = a^2\,\tfrac{K-1}{K}\sum_k (l_k - \bar l)^2
      + (\bar l, 1)\,V\,(\bar l, 1)^\top$$

    1/a is the temperature and c corrects the base rate, fitted on out-of-fold logits with
    covariance V. Each of the K members was trained without one part of the people, so their spread
    is a delete-a-group jackknife of the training sample. The interval is that of the probability
    that this method would give with endless training data of the same kind; it does not cover
    what the record does not say, nor a population unlike the training people.

    Paper: silent. Conformal sets: class-conditional split conformal prediction (Vovk 2012) on
    out-of-fold probabilities.
    """

    slope: Tensor
    intercept: Tensor
    covariance: Tensor
    least_if_ad: Tensor
    most_if_cn: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(1.0))
        self.register_buffer("intercept", torch.tensor(0.0))
        self.register_buffer("covariance", torch.zeros(2, 2))
        self.register_buffer("least_if_ad", torch.tensor(0.0))
        self.register_buffer("most_if_cn", torch.tensor(1.0))

    def fit(
        self, logit: Float[Tensor, " patients"], ad: Bool[Tensor, " patients"], coverage: float
    ) -> "Calibration":
        """Fit temperature, base rate and conformal thresholds on out-of-fold logits.

        Args:
            logit: of people whom the member that gave it had not seen.
            ad: who of them has the label AD.
            coverage: share of each class whose set must hold it.
        """
        from sklearn.linear_model import LogisticRegression  # training only: 1 s to load

        design = logit.double()[:, None].numpy()
        model = LogisticRegression(C=math.inf, max_iter=1000).fit(design, ad.numpy())
        # A negative slope would turn the model round: then the logits carry nothing, so a = 0.
        self.slope.fill_(max(0.0, float(model.coef_[0, 0])))
        self.intercept.fill_(float(model.intercept_[0]))
        probability = self.probability(logit).double()
        weight = probability * (1 - probability)
        terms = torch.stack([logit.double(), torch.ones(len(logit), dtype=torch.float64)])
        self.covariance.copy_(torch.linalg.pinv((terms * weight) @ terms.T).float())
        self.least_if_ad.fill_(_quantile(probability[ad], 1 - coverage))
        self.most_if_cn.fill_(1 - _quantile(1 - probability[~ad], 1 - coverage))
        return self

    def probability(self, logit: Float[Tensor, " patients"]) -> Float[Tensor, " patients"]:
        """Calibrated P(AD)."""
        return torch.sigmoid(self.slope * logit + self.intercept)

    def interval(
        self, logits: Float[Tensor, "members patients"]
    ) -> tuple[Float[Tensor, " patients"], Float[Tensor, " patients"]]:
        """Bounds of the 95 % interval of the probability of the members' mean logit."""
        members = logits.shape[0]
        mean = logits.mean(0)
        spread = (members - 1) / members * ((logits - mean) ** 2).sum(0)
        terms = torch.stack([mean, torch.ones_like(mean)])
        fitted = (terms * (self.covariance @ terms)).sum(0)
        reach = INTERVAL_NORMAL_QUANTILE * (self.slope**2 * spread + fitted).clamp_min(0).sqrt()
        centre = self.slope * mean + self.intercept
        return torch.sigmoid(centre - reach), torch.sigmoid(centre + reach)

    def answers(self, probability: Float[Tensor, " patients"]) -> list[Answer]:
        """AD or CN where the conformal set holds that class alone, else UNCERTAIN."""
        may_be_ad = (probability >= self.least_if_ad).tolist()
        may_be_cn = (probability <= self.most_if_cn).tolist()
        return [
            Answer.UNCERTAIN if ad == cn else Answer.AD if ad else Answer.CN
            for ad, cn in zip(may_be_ad, may_be_cn, strict=True)
        ]


def _quantile(scores: Tensor, share: float) -> float:
    """The largest score that leaves at most `share` of exchangeable people below it."""
    place = math.floor(share * (len(scores) + 1))
    return float(scores.sort().values[place - 1]) if place >= 1 else 0.0


class Familiarity(nn.Module):
    r"""Whether a graph embedding lies where those of the training people lie.

    $$d^2 = (\tilde z - \mu)^\top \Sigma^{-1} (\tilde z - \mu)$$

    with the shrunk covariance of out-of-fold embeddings. The limit is the largest distance of a
    training person, half as much again.
    """

    mean: Tensor
    root: Tensor
    limit: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("root", torch.eye(width))
        self.register_buffer("limit", torch.tensor(0.0))

    def fit(self, embedding: Float[Tensor, "patients width"]) -> "Familiarity":
        """Take mean, covariance and limit from out-of-fold embeddings of training people."""
        covariance, _ = shrunk_covariance(embedding)
        values, vectors = torch.linalg.eigh(covariance)
        self.mean.copy_(embedding.mean(0))
        floor = float(values.max()) * 1e-6
        self.root.copy_((vectors * values.clamp_min(floor) ** -0.5).float())
        self.limit.copy_(1.5 * self(embedding).max())
        return self

    def forward(self, embedding: Float[Tensor, "patients width"]) -> Float[Tensor, " patients"]:
        """Distances, in standard deviations of the training people."""
        whitened: Tensor = (embedding - self.mean) @ self.root
        distance: Tensor = torch.linalg.vector_norm(whitened, dim=1)
        return distance

    def unfamiliar(self, embedding: Float[Tensor, "patients width"]) -> Sequence[bool]:
        """Who lies further out than anyone in training did."""
        far: list[bool] = (self(embedding) > self.limit).tolist()
        return far

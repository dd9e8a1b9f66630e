"""What a run of the tables is told: how many people, which model, how long baselines train."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml.config import PROFILES, Profile
from ml.evaluation.baselines.generators import GeneratorConfig


class TablesError(ValueError):
    """A table cannot be made from what was given; the text says what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """Everything but the seed that decides a figure.

    Attributes:
        profile: name in `ml.config.PROFILES`.
        people: phantoms a seed, if no cohort is given.
        train_share: share of the persons that train; the others judge.
        cohort: folder of a cohort, of which each seed deals the persons anew; None for phantoms.
        members: folds that a slow generative baseline is trained without, each in turn; fast ones
            and MIRAGE take all folds of the profile.
        slow, fast: training of baselines that draw voxels, and of those that draw a latent.
        judged_images: test people whose volumes are compared with their scans.
    """

    profile: str = "4mm"
    people: int = 800
    train_share: float = 0.5
    cohort: Path | None = None
    members: int = 1
    slow: GeneratorConfig = field(
        default_factory=lambda: GeneratorConfig(steps=400, batch_size=12, hidden=64)
    )
    fast: GeneratorConfig = field(default_factory=GeneratorConfig)
    judged_images: int = 64

    @property
    def model(self) -> Profile:
        """The profile itself.

        Raises:
            TablesError: there is none of that name.
        """
        if self.profile not in PROFILES:
            raise TablesError(
                f"There is no profile `{self.profile}`; there are {', '.join(PROFILES)}."
            )
        return PROFILES[self.profile]

    def entries(self) -> dict[str, Any]:
        """As JSON, the profile's own numbers included; where the cohort lies plays no part."""
        found = asdict(self) | {"model": asdict(self.model)}
        return found | {"cohort": None if self.cohort is None else "given"}


def short(profile: str = "tiny") -> TableSettings:
    """A run of a minute: it shows that every row can be made and says nothing about any."""
    return TableSettings(
        profile=profile,
        people=80,
        train_share=0.6,
        slow=GeneratorConfig(steps=6, batch_size=8, hidden=32, sampling_steps=3),
        fast=GeneratorConfig(steps=20, hidden=32, sampling_steps=3),
        judged_images=8,
    )

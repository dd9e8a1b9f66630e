"""What a run of the tables is told: how many people, which model, how long baselines train."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ml.config import PROFILES, Profile
from ml.evaluation.baselines.generators import GeneratorConfig

BASELINE_SETTINGS = ("members", "ehr_to_mri", "voxel_diffusion", "latent_diffusion", "fast")


class TablesError(ValueError):
    """A table cannot be made from what was given; the text says what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """Everything but the seed that decides a figure.

    Attributes:
        profile: name in `ml.config.PROFILES`.
        people: phantoms a seed, if no cohort is given.
        train_share: share of the persons that train; the others judge.
        cohort: folder of a cohort or of OASIS-1 as it is handed out, of which each seed deals the
            persons anew; None for phantoms.
        members: folds that a slow generative baseline is trained without, each in turn; fast ones
            and MIRAGE take all folds of the profile.
        ehr_to_mri, voxel_diffusion: training of the slow baselines.
        latent_diffusion: training of the diffusion of z.
        fast: training of the other networks that read a record.
        judged_images: test people whose volumes are compared with their scans.
    """

    profile: str = "4mm"
    people: int = 800
    train_share: float = 0.5
    cohort: Path | None = None
    members: int = 1
    ehr_to_mri: GeneratorConfig = field(
        default_factory=lambda: GeneratorConfig(steps=400, batch_size=12, hidden=64)
    )
    voxel_diffusion: GeneratorConfig = field(
        default_factory=lambda: GeneratorConfig(steps=800, batch_size=12, hidden=32)
    )
    latent_diffusion: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(steps=2000))
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

    def entries_for(self, used: Sequence[str]) -> dict[str, Any]:
        """What every cell depends on, and the baselines' settings that one uses."""
        return {
            name: value
            for name, value in self.entries().items()
            if name not in BASELINE_SETTINGS or name in used
        }


def short(profile: str = "tiny") -> TableSettings:
    """A run of a minute: it shows that every row can be made and says nothing about any."""
    brief = GeneratorConfig(steps=4, batch_size=8, hidden=32, sampling_steps=2)
    return TableSettings(
        profile=profile,
        people=80,
        train_share=0.6,
        ehr_to_mri=brief,
        voxel_diffusion=brief,
        latent_diffusion=brief,
        fast=brief,
        judged_images=8,
    )

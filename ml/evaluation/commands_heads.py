"""The commands that lay the two ways to a probability side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml.evaluation.commands import write_results
from ml.user_cache import USER_CACHE


@dataclass(frozen=True, kw_only=True)
class CompareHeads:
    """CNN on scans, CNN on pseudo-MRIs, surrogate and fusion; and the CNN with others' skips.

    Attributes:
        bundle: folder of the bundle.
        cohort: folder of the cohort it was trained on, whose test people are looked at.
        out: JSON file for the results.
        new: nobody of the cohort trained the bundle, so everybody is looked at.
        most: people at most.
    """

    bundle: Path
    cohort: Path
    out: Path
    new: bool = False
    most: int = 1000

    def run(self) -> None:
        """Write the figures and print the tables."""
        from ml.evaluation.bundle_heads import bundle_heads, readable

        results = bundle_heads(self.bundle, self.cohort, new=self.new, most=self.most)
        write_results(self.out, results)
        print(readable(results))


@dataclass(frozen=True, kw_only=True)
class HeadsOverSeeds:
    """The same over several seeds, each trained and judged on phantoms of its own.

    Takes about half an hour of one processor a seed at 4 mm. What the work folder holds already is
    not made again.

    Attributes:
        work: folder for cohorts and bundles, 1 GB a seed at 4 mm.
        out: JSON file for the results.
        seeds: how many.
        first_seed: the first of them.
        profile: size of the model.
        people: phantoms a seed, of whom three in four train.
        test_people: phantoms a seed who judge.
    """

    work: Path
    out: Path
    seeds: int = 5
    first_seed: int = 1
    profile: Literal["tiny", "4mm", "2mm"] = "4mm"
    people: int = 1000
    test_people: int = 2000

    def run(self) -> None:
        """Write the figures and print the table."""
        from ml.config import PROFILES
        from ml.evaluation.heads_over_seeds import heads_over_seeds, readable
        from ml.progress import Stages

        with Stages() as stages:
            results = heads_over_seeds(
                self.work,
                range(self.first_seed, self.first_seed + self.seeds),
                profile=self.profile,
                spacing_mm=PROFILES[self.profile].spacing_mm,
                people=self.people,
                test_people=self.test_people,
                text_cache=USER_CACHE,
                progress=stages.show,
            )
        write_results(self.out, results)
        print(readable(results))

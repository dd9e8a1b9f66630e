"""The command that makes the paper's tables."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ml.evaluation.commands import write_results


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The paper's Tables 1 and 2 on phantoms or on a cohort: every baseline, every ablation.

    What the folder holds already is not made again, so a run that was stopped goes on where it
    was. At 4 mm a seed takes hours of one processor.

    Attributes:
        out: folder for the cells and for tables.json and tables.md.
        profile: size of the model.
        seeds: how many; each has people and weights of its own, or deals the cohort anew.
        first_seed: the first of them.
        rows: names of rows, as `lr mirage no-kg`; all by default.
        people: phantoms a seed.
        cohort: folder of a cohort, or of OASIS-1 as it is handed out, in the place of phantoms.
        train_share: share of the persons that train.
        short: few people and steps: a run of a minute or two that shows the way and no result.
        workers: cells made at the same time.
        show: write the tables of what is there, and make nothing.
    """

    out: Path
    profile: Literal["tiny", "4mm", "2mm"] = "4mm"
    seeds: int = 1
    first_seed: int = 1
    rows: tuple[str, ...] = ()
    people: int = 800
    cohort: Path | None = None
    train_share: float = 0.5
    short: bool = False
    workers: int = 2
    show: bool = False

    def run(self) -> None:
        """Make the cells, write the tables and print them.

        Raises:
            TablesError: a row does not exist, the cohort is too small, or cells failed.
        """
        import torch

        from ml.evaluation.tables.beside import beside, readable_beside
        from ml.evaluation.tables.cells import Bench
        from ml.evaluation.tables.registry import BESIDE, CELLS, ROWS
        from ml.evaluation.tables.results import readable, tables
        from ml.evaluation.tables.run import Outcome, chosen_rows, make_cells
        from ml.evaluation.tables.settings import TablesError, TableSettings, short

        torch.set_num_threads(1)
        settings = TableSettings(
            profile=self.profile, people=self.people, train_share=self.train_share
        )
        if self.short:
            settings = short()
        settings = replace(settings, cohort=self.cohort)
        rows, seeds = chosen_rows(self.rows), range(self.first_seed, self.first_seed + self.seeds)
        outcome = Outcome()
        if not self.show:
            cells = [ROWS[name].cell for name in rows] + ([] if self.rows else list(BESIDE))
            outcome = make_cells(
                self.out, settings, seeds, cells, workers=self.workers, progress=_tell
            )
        bench = Bench(self.out, settings, CELLS)
        results = tables(bench, seeds, rows) | {"beside": beside(bench, seeds)}
        write_results(self.out / "tables.json", results)
        text = readable(results) + "\n\n" + readable_beside(results["beside"])
        (self.out / "tables.md").write_text(text + "\n", encoding="utf-8")
        print(text)
        if outcome.failed:
            told = [f"seed {seed}, {name}: {why}" for (seed, name), why in outcome.failed.items()]
            raise TablesError(
                f"{len(told)} cells failed and {len(outcome.left_out)} that need them were left "
                "out; the tables hold the others. " + "; ".join(told)
            )


def _tell(line: str, done: int, total: int) -> None:
    print(f"[{done} of {total}] {line}", file=sys.stderr, flush=True)

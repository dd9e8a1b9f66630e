"""The command that trains. torch is loaded when it runs, so that `--help` does not wait for it."""

import json
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from ml.card import readable
from ml.progress import Terminal
from ml.training_plan import TrainingPlan
from ml.user_cache import USER_CACHE

PLANNED = fields(TrainingPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(TrainingPlan):
    """Train every stage of the paper on a cohort and write a bundle.

    Ctrl-C saves and stops. The same command goes on from there, and from the last checkpoint if the
    process was killed; the bundle is then the same, bit for bit on a CPU. On several GPUs:
    `torchrun --nproc-per-node=4 -m ml train ...`.

    Attributes:
        cohort: folder of the cohort, as `phantom` writes it.
        out: folder of the bundle; a bundle that is there is replaced.
        run_folder: folder for checkpoints and example pictures; by default beside `out`, named
            after it with `-run` at the end. It holds what was learned from each person: keep it as
            safe as the cohort. Its checkpoints are deleted when the bundle is written.
        graph: a whole knowledge graph that `python -m ml graph` wrote; by default HPO's.
        threads: of the processor; 0 leaves it to torch. Another number gives other bits.
        json: print JSON instead of text.
    """

    cohort: Path
    out: Path
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    graph: Path | None = None
    threads: int = 0
    json: bool = False

    def run(self) -> None:
        """Train, showing each stage's progress, and print the card."""
        import torch

        from ml.training.run import run_training

        if self.threads:
            torch.set_num_threads(self.threads)
        run_folder = self.run_folder or self.out.with_name(f"{self.out.name}-run")
        terminal = Terminal()
        with terminal, terminal.listening():
            card = run_training(
                self.cohort,
                TrainingPlan(**{each.name: getattr(self, each.name) for each in PLANNED}),
                run_folder,
                self.out,
                terminal,
                command=self.command_line(),
                text_cache=USER_CACHE,
                knowledge_file=self.graph,
            )
        shutil.rmtree(run_folder / "checkpoints")
        print(json.dumps(json.loads(card.to_json()), indent=2) if self.json else readable(card))

    def command_line(self) -> str:
        """The command that trains the same again, without the folders that files lie in."""
        options = [f"--cohort {self.cohort.name}"]
        for each in PLANNED:
            value = getattr(self, each.name)
            if isinstance(value, bool):
                options += [f"--{'' if value else 'no-'}{each.name}"] * (value != each.default)
            elif value != each.default or each.name in {"profile", "seed"}:
                options.append(f"--{each.name} {value}")
        options.append(f"--out {self.out.name}")
        options += [f"--graph {self.graph.name}"] if self.graph else []
        return f"python -m ml train {' '.join(options)}"

"""What goes on beside the maths of a training: it tells, it stops when asked, it saves.

Every stage gets a `Course`. Work that takes long is cut into parts (a fold, or the whole stage),
and a part either is found finished or runs its `Loop`, which begins at the step where it was saved.
A saved state holds torch's random generator, too, so what follows draws the same numbers as if
nothing had been stopped: the weights of a resumed training are those of an uninterrupted one.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from ml.training.checkpoint import Checkpoints, State, tensors_of
from ml.training.ranks import Ranks
from ml.training_plan import Event, TrainingError, Watcher

SAVE_EVERY_S = 20.0
MOST_OF_TIME = 0.02
"""Saving, and looking at examples, may take this share of the time."""
SHOWN_ROWS = 12

Report = Callable[[str, int, int], None]
"""Stage, steps done, steps in all."""


class StoppedError(TrainingError):
    """Somebody asked the training to stop; what it had is saved, if it has a run folder."""

    exit_code = 130


class NotFiniteLossError(TrainingError):
    """A loss is NaN or infinite, so the weights are spoilt; the last checkpoint is not."""


class DeviceError(TrainingError):
    """The device that was asked for is not there, was lost, or has too little memory."""


class Reporting:
    """A watcher that only says how far a stage is.

    Args:
        report: called with the stage, the steps done and the steps in all.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def tell(self, event: Event) -> None:
        """Report a step; other events are left out."""
        if event.kind == "step":
            self._report(event.stage, event.step, event.steps)

    def stop_asked(self) -> bool:
        """Never."""
        return False


class Course:
    """The course of one training.

    Args:
        watcher: who looks on; nobody by default.
        checkpoints: where states are saved; nowhere by default.
        device: where networks are trained that are worth moving there.
        ranks: the processes that share the autoencoder's batches.
        examples: folder for example pictures, below the folder of the run; none by default.
        save_every_s: least seconds between two states of a loop; more if saving takes more than 2 %
            of the time. 0 saves after every step, whatever that takes.

    Attributes:
        laps: stage to wall-clock seconds, those of stopped attempts included.
    """

    def __init__(
        self,
        watcher: Watcher | None = None,
        checkpoints: Checkpoints | None = None,
        *,
        device: torch.device | None = None,
        ranks: Ranks | None = None,
        examples: Path | None = None,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        self.watcher = watcher
        self.checkpoints = checkpoints
        self.device = device or torch.device("cpu")
        self.ranks = ranks or Ranks()
        self.examples = examples
        self.save_every_s = save_every_s
        self.laps: dict[str, float] = {}
        self._stage = ""
        self._since = self._saved = monotonic()
        self._pause_s = save_every_s

    def stage(self, name: str) -> None:
        """Begin a stage of `ml.training_plan.STAGES`; the one before ends now."""
        self._count()
        self._stage = name
        self.tell("stage")

    def end(self) -> None:
        """The last stage ends now."""
        self._count()
        self._stage = ""

    def tell(self, kind: Any, **entries: Any) -> None:
        """Tell the watcher of something in the present stage."""
        if self.watcher is not None and self.ranks.first:
            self.watcher.tell(Event(kind=kind, stage=self._stage, **entries))

    def step(self, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        """Tell of a step of work whose state is not worth saving, and stop if asked.

        Raises:
            StoppedError: as it says.
        """
        self.tell("step", step=done, steps=total, values=values or {})
        if self.stop_asked():
            raise self.stopped()

    def stop_asked(self) -> bool:
        """Whether to stop; all processes get the same answer."""
        asked = self.watcher is not None and self.watcher.stop_asked()
        return self.ranks.agreed(asked)

    def stopped(self) -> StoppedError:
        """What is raised when the training stops."""
        way = "What it has is saved: ask for the same again to go on."
        if self.checkpoints is None:
            way = "Nothing of it is kept."
        return StoppedError(f"The training was stopped during the stage {self._stage}. {way}")

    def part(self, number: int = 0, of: int = 1, name: str = "") -> "Part":
        """One of the parts of the present stage.

        Args:
            number: which, from 0.
            of: how many are alike.
            name: of what is saved, if not the stage's.
        """
        return Part(self, name or self._stage, number, of)

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Figures (JSON) that take long to compute: computed now, or as they were saved."""
        part = Part(self, name, 0, 1)
        state = part.kept()
        if state is not None:
            return state.entries["figures"]
        figures = json.loads(json.dumps(compute()))  # what is kept is what is returned
        part.keep({}, {"figures": figures})
        return figures

    def due(self) -> bool:
        """Whether a loop's state has waited long enough to be saved."""
        return self.checkpoints is not None and monotonic() - self._saved >= self._pause_s

    def write(self, name: str, tensors: Mapping[str, Tensor], entries: Mapping[str, Any]) -> None:
        """Save a state, with the time and torch's random generator as they are now."""
        if self.checkpoints is None or not self.ranks.first:
            return
        began = monotonic()
        self._count()
        self.checkpoints.write(
            name,
            {**tensors, "random": torch.get_rng_state()},
            {**entries, "seconds": self.laps},
        )
        self._saved = monotonic()
        if self.save_every_s:
            self._pause_s = max(self.save_every_s, (self._saved - began) / MOST_OF_TIME)
        self.tell("saved")

    def read(self, name: str) -> State | None:
        """A saved state; torch's random generator goes on from where it was then."""
        state = self.checkpoints.read(name) if self.checkpoints else None
        if state is not None:
            torch.set_rng_state(state.tensors["random"])
            self.laps = dict(state.entries["seconds"])
            self._since = monotonic()
        return state

    def _count(self) -> None:
        now = monotonic()
        if self._stage:
            self.laps[self._stage] = round(self.laps.get(self._stage, 0.0) + now - self._since, 3)
        self._since = now


class Part:
    """A part of a stage: found finished, or run and then kept."""

    def __init__(self, course: Course, name: str, number: int, of: int) -> None:
        self.course = course
        self.number, self.of = number, of
        self.name = f"{name.replace(' ', '-')}-{number}" if of > 1 else name.replace(" ", "-")

    def kept(self) -> State | None:
        """What was kept of this part, if it was finished."""
        return self.course.read(self.name)

    def keep(self, tensors: Mapping[str, Tensor], entries: Mapping[str, Any]) -> None:
        """Keep the result; the state of the loop is no longer needed."""
        self.course.write(self.name, tensors, entries)
        if self.course.checkpoints is not None and self.course.ranks.first:
            self.course.checkpoints.remove(f"{self.name}-loop")

    def loop(
        self,
        steps: int,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        schedule: LRScheduler | None = None,
        generator: torch.Generator | None = None,
        fixed: Collection[str] = (),
    ) -> "Loop":
        """The optimiser steps of this part, from where they were saved.

        Args:
            steps: in all.
            modules: what is trained, by name; filled with what was saved.
            optimiser, schedule, generator: likewise.
            fixed: tensors that no step changes, as `module.name`; they are not saved.
        """
        return Loop(self, steps, modules, optimiser, schedule, generator, fixed)


class Loop:
    """Optimiser steps whose state can be saved after any of them.

    Attributes:
        notes: what the loop remembers from step to step, as JSON; saved with the rest.
    """

    def __init__(
        self,
        part: Part,
        steps: int,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        schedule: LRScheduler | None,
        generator: torch.Generator | None,
        fixed: Collection[str],
    ) -> None:
        self.notes: dict[str, Any] = {}
        self._part, self._course, self._steps = part, part.course, steps
        self._modules, self._optimiser = modules, optimiser
        self._schedule, self._generator, self._fixed = schedule, generator, frozenset(fixed)
        self._begin = 0
        state = self._course.read(f"{part.name}-loop")
        if state is not None:
            self._restore(state)

    def steps(self) -> Iterator[int]:
        """Numbers of the steps that are still to be done."""
        return iter(range(self._begin, self._steps))

    def done(self, step: int, values: Mapping[str, float], rows: Sequence[int] = ()) -> None:
        """End a step: tell it, save what is due, stop if asked.

        Args:
            step: its number.
            values: losses by name.
            rows: of the training people that it learned from, for a message.

        Raises:
            NotFiniteLossError: a loss is NaN or infinite.
            StoppedError: somebody asked; the state is saved.
        """
        self._check(step, values, rows)
        part = self._part
        self._course.tell(
            "step",
            step=part.number * self._steps + step + 1,
            steps=part.of * self._steps,
            values={**values, "learning rate": self._optimiser.param_groups[0]["lr"]},
        )
        stop = self._course.stop_asked()
        if stop or self._course.due():
            self._save(step + 1, rows)
        if stop:
            raise self._course.stopped()

    def _check(self, step: int, values: Mapping[str, float], rows: Sequence[int]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise self._not_finite(f"the loss `{name}` is {value}", step, rows)

    def _not_finite(self, what: str, step: int, rows: Sequence[int]) -> NotFiniteLossError:
        shown = ", ".join(str(row) for row in sorted(rows)[:SHOWN_ROWS])
        more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        batch = f"scans {shown}{more} of the training part (counted from 0)" if shown else "all"
        return NotFiniteLossError(
            f"Stage {self._part.name}, step {step + 1} of {self._steps}: {what}; it must be a "
            f"finite number. Batch: {batch}. The last checkpoint before it is kept. Look at these "
            "people's scans and values, or lower the learning rate in ml/config.py."
        )

    def _save(self, done: int, rows: Sequence[int]) -> None:
        if self._course.checkpoints is None or not self._course.ranks.first:
            return
        tensors = {
            name: value
            for name, value in tensors_of(**self._modules).items()
            if name not in self._fixed
        }
        if not all(bool(torch.isfinite(each).all()) for each in tensors.values()):
            raise self._not_finite("a weight is NaN or infinite", done - 1, rows)
        for number, weight in enumerate(self._weights()):
            for key, value in self._optimiser.state.get(weight, {}).items():
                tensors[f"optimiser.{number}.{key}"] = value
        if self._generator is not None:
            tensors["generator"] = self._generator.get_state()
        groups = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self._optimiser.param_groups
        ]
        schedule = self._schedule.state_dict() if self._schedule else None
        entries = {"done": done, "notes": self.notes, "groups": groups, "schedule": schedule}
        self._course.write(f"{self._part.name}-loop", tensors, entries)

    def _restore(self, state: State) -> None:
        for name, module in self._modules.items():
            own = module.state_dict()
            kept = {key: own[key] for key in own if f"{name}.{key}" in self._fixed}
            module.load_state_dict(kept | state.of_module(name))
        for number, weight in enumerate(self._weights()):
            saved = state.of_module(f"optimiser.{number}")
            if saved:
                self._optimiser.state[weight] = {
                    key: _laid_out_as(weight, value) if key != "step" else value
                    for key, value in saved.items()
                }
        for group, entries in zip(
            self._optimiser.param_groups, state.entries["groups"], strict=True
        ):
            group.update(
                {
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in entries.items()
                }
            )
        if self._schedule is not None:
            self._schedule.load_state_dict(state.entries["schedule"])
        if self._generator is not None:
            self._generator.set_state(state.tensors["generator"])
        self.notes = state.entries["notes"]
        self._begin = state.entries["done"]

    def _weights(self) -> list[Tensor]:
        return [weight for group in self._optimiser.param_groups for weight in group["params"]]


def _laid_out_as(weight: Tensor, value: Tensor) -> Tensor:
    """A moment in the memory layout of its weight, so that its sums are added in the same order."""
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)

"""What a training is asked for, and what it tells while it runs.

Standard library alone: the command line, the web form and the page that watches a run are made
from the same classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

STAGES = (
    "read scans",
    "autoencoder",
    "graph",
    "distillation",
    "pseudo-MRIs",
    "readers",
    "evaluation",
    "write",
)
"""In the order in which a training goes through them."""


class TrainingError(Exception):
    """A training does not go on; the text says why, what is kept and what to do.

    Attributes:
        exit_code: of a process that ends with it.
    """

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Every choice of a training but its people.

    Attributes:
        profile: size of the model; scans may be as fine as its voxels or finer (tiny is 8 mm).
        seed: of the split and of everything random.
        name: of the bundle.
        pictures: train the autoencoder and the stages that decode; without them z is the
            principal components of the scans, which takes minutes and draws worse.
        device: where the networks are trained; auto takes a GPU if there is one.
    """

    profile: Literal["tiny", "4mm", "2mm", "1mm"] = "4mm"
    seed: int = 1
    name: str = "mirage"
    pictures: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a training tells.

    Attributes:
        kind: `stage`: one begins. `step`: one step is done, `values` are its losses and learning
            rate, if it has any. `metric`: `values` were measured, and each name says on whom: "out
            of fold" and "test people" are people whom the weights had not seen. `example`: `file`
            is a picture in the folder of the run, `text` says of what. `saved`: everything until
            here can be resumed. `log`: `text` is for a person to read.
        stage: one of `STAGES`.
        step, steps: done in this stage, and in all; 0 where nobody knows.
        values: name, with its unit, to number.
        text: never holds patient data.
        file: path below the folder of the run.
    """

    kind: Literal["stage", "step", "metric", "example", "saved", "log"]
    stage: str
    step: int = 0
    steps: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    file: str = ""


@runtime_checkable
class Watcher(Protocol):
    """Who looks on while a training runs."""

    def tell(self, event: Event) -> None:
        """Take note of an event; called at every step, so it must be quick."""

    def stop_asked(self) -> bool:
        """Whether the training should save what it has and stop; asked after every step."""

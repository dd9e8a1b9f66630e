"""python -m apps.registry.training.child JOB: one training, apart from the worker that watches it.

Started by `apps.registry.training.process`, without Django, database or keys. JOB is a JSON file
that says what to do. It tells one JSON object a line on what was its standard output, and says in
the last one how it ended. What libraries print goes nowhere: it may quote a record. It stops at its
next step when its standard input is closed or says anything.
"""

import json
import os
import resource
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from apps.errors import MirageError
from apps.registry import engine
from ml.training_plan import Event, TrainingPlan

SNAPSHOT = "snapshot"
"""The stage before those of the engine, in which its cohort folder is made."""
EVENT, MADE, END = "event", "made", "end"
DONE, STOPPED, REFUSED, CRASHED = "done", "stopped", "refused", "crashed"


class Teller:
    """The watcher of the training: passes on what it tells, and whether it should stop."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, event: Event) -> None:
        """Pass an event on, with the most memory that was held so far."""
        self.say(
            {EVENT: {**asdict(event), "values": dict(event.values)}, "memory_mb": _memory_mb()}
        )

    def stop_asked(self) -> bool:
        """Whether the worker has asked to stop, or is gone."""
        return self._stop.is_set()

    def say(self, message: dict[str, Any]) -> None:
        """Write one line."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def _listen(self) -> None:
        sys.stdin.buffer.read(1)
        self._stop.set()


def main(job: Path) -> None:
    """Do what the file says and tell how it ended."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold records
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    teller = Teller(out)
    try:
        _train(json.loads(job.read_text(encoding="utf-8")), teller)
    except engine.TrainingStoppedError:
        teller.say({END: STOPPED})
    except MirageError as error:
        teller.say({END: REFUSED, "reason": str(error)})
    except Exception as error:  # told to the worker, without the error's own words
        teller.say({END: CRASHED, "place": _place_of(error)})
    else:
        teller.say({END: DONE})


def _train(job: dict[str, Any], teller: Teller) -> None:
    cohort = Path(job["cohort"])
    if phantoms := job["phantoms"]:
        _make(cohort, phantoms, teller)
    engine.train(
        cohort=cohort,
        plan=TrainingPlan(**job["plan"]),
        run_folder=Path(job["work"]),
        out=Path(job["out"]),
        watcher=teller,
        command=job["command"],
        exclude_persons=job["exclude_persons"],
        threads=job["threads"],
    )


def _make(cohort: Path, phantoms: dict[str, Any], teller: Teller) -> None:
    """The invented people, unless an earlier attempt has made them."""
    if cohort.exists():
        return

    def told(done: int, total: int) -> None:
        teller.tell(Event(kind="step", stage=SNAPSHOT, step=done, steps=total))
        if teller.stop_asked():
            raise engine.TrainingStoppedError

    teller.tell(Event(kind="stage", stage=SNAPSHOT, steps=phantoms["people"]))
    draft = cohort.with_name(f"{cohort.name}.draft")
    engine.make_phantoms(out=draft, **phantoms, progress=told)
    draft.rename(cohort)
    teller.say({MADE: True})


def _memory_mb() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, kibibytes here


def _place_of(error: Exception) -> str:
    """Kind of an error and the lines it came through; its text may quote a record."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

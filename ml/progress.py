"""Progress of long work on the terminal."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ml.training_plan import Event


class Stages:
    """One progress bar for each stage of the work, on standard error."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "Stages":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, stage: str, done: int, total: int) -> None:
        """Move the bar of this stage, or start it."""
        if self._bar is None or stage != self._stage:
            self.__exit__()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr)
        self._bar.update(done - self._bar.n)


class Terminal(Stages):
    """Watches a training: a bar a stage with its loss, figures as they become known, and Ctrl-C."""

    def __init__(self) -> None:
        super().__init__()
        self._stop = False

    def tell(self, event: Event) -> None:
        """Show a step, a figure or a line of the log."""
        if event.kind == "step":
            self.show(event.stage, event.step, event.steps)
            if self._bar is not None and "loss" in event.values:
                self._bar.set_postfix_str(f"loss {event.values['loss']:.4g}", refresh=False)
        elif event.kind == "metric":
            for name, value in event.values.items():
                tqdm.write(f"{name}: {value:.3f}", file=sys.stderr)
        elif event.kind == "log":
            tqdm.write(event.text, file=sys.stderr)

    def stop_asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._stop

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the first Ctrl-C as a wish to save and stop; a second one ends the process."""

        def ask(number: int, frame: object) -> None:
            del number, frame
            self._stop = True
            signal.signal(signal.SIGINT, before)
            tqdm.write("Stopping after this step; what there is will be saved.", file=sys.stderr)

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

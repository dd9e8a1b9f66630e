"""Progress of long work on the terminal."""

import sys
from typing import Any

from tqdm import tqdm


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

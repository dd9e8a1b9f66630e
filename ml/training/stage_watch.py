"""How long each stage of a training took, for the card."""

from time import perf_counter


class StageWatch:
    """Seconds of each stage, in the order they ended.

    Attributes:
        laps: stage to wall-clock seconds.
    """

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage; the next one starts now."""
        now = perf_counter()
        self.laps[stage] = round(now - self._last, 1)
        self._last = now

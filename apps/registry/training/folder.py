"""Where the files of a training lie: the snapshot of its people, its checkpoints, its pictures."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from django.conf import settings

EXAMPLES = "examples"
_LOOK_EVERY_S = 0.2


class RunFolder:
    """The private folder of one training.

    Attributes:
        cohort: the snapshot, as a cohort folder.
        work: what the engine writes while it trains: checkpoints, and pictures below `examples`.
        bundle: what it writes at the end.
    """

    def __init__(self, pk: UUID) -> None:
        self.path = home() / str(pk)
        self.cohort = self.path / "cohort"
        self.work = self.path / "work"
        self.bundle = self.path / "bundle"

    def make(self) -> None:
        """Make the folder, readable by the application's user alone."""
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)

    @contextmanager
    def held(self, still_wanted: Callable[[], None]) -> Iterator[None]:
        """Keep other processes of this machine out: a cancelled one may still be saving.

        Args:
            still_wanted: called now and then while waiting; what it raises ends the waiting.
        """
        self.make()
        with (self.path / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    still_wanted()
                    time.sleep(_LOOK_EVERY_S)
            yield

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A place for the snapshot, which becomes it if the block ends well."""
        draft = self.path / "cohort.draft"
        shutil.rmtree(draft, ignore_errors=True)
        yield draft
        draft.rename(self.cohort)

    def example(self, name: str) -> Path | None:
        """The file of a picture that an event names, if it is there and is nowhere else."""
        path = (self.work / name).resolve()
        inside = path.is_relative_to((self.work / EXAMPLES).resolve())
        return path if inside and path.is_file() else None

    def kept_bytes(self) -> int:
        """Size of what a resumed training would need, while it may be written or deleted."""
        return sum(_bytes_of(path) for path in self._needed_to_resume())

    def drop(self) -> None:
        """Delete what a resumed training would need; the pictures stay."""
        for path in self._needed_to_resume():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _needed_to_resume(self) -> list[Path]:
        kept = {self.work, self.work / EXAMPLES, self.path / "lock"}
        found = [*self.path.glob("*"), *self.work.glob("*")]
        return [path for path in found if path not in kept]


def _bytes_of(path: Path) -> int:
    """Size of a file or of all below a folder; what has just gone counts nothing."""
    if path.is_dir():
        return sum(
            _bytes_of(Path(folder) / name) for folder, _, names in os.walk(path) for name in names
        )
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def home() -> Path:
    """The parent of all folders of trainings."""
    return Path(settings.MIRAGE_DATA_DIR) / "trainings"

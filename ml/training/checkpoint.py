"""What a stopped training goes on from: safetensors and JSON, whole or not there at all.

A state is two files. `NAME-<hash>.safetensors` holds the tensors; `NAME.json` names that file, its
SHA-256 and the numbers, and is sealed by a SHA-256 of its own. The second is renamed into place
last, so that a process killed at any moment leaves the state before or the state after.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ml.training_plan import TrainingError

FULL = {errno.ENOSPC, errno.EDQUOT}
OTHER_FOLDER = "Give another run folder, or empty this one to begin again."


class CheckpointError(TrainingError):
    """What a run folder holds cannot be gone on from; the text says why and what to do."""


class FullDiskError(TrainingError):
    """There is no room left for a checkpoint or the bundle; what was saved before is kept."""


@dataclass(frozen=True, slots=True)
class State:
    """Tensors and numbers that were saved together."""

    tensors: Mapping[str, Tensor]
    entries: Mapping[str, Any]

    def of_module(self, name: str) -> dict[str, Tensor]:
        """The tensors of one module, by their names in it."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in self.tensors.items()
            if key.startswith(prefix)
        }


def tensors_of(**modules: nn.Module) -> dict[str, Tensor]:
    """All tensors of some modules, each by its module's name and its own."""
    return {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


class Checkpoints:
    """The states in a run folder.

    Args:
        folder: where they lie; made if missing.
        key: hash of everything that the training follows from; states of another key are refused.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, tensors: Mapping[str, Tensor], entries: Mapping[str, Any]) -> None:
        """Save a state under a name; the one before is there until this one is complete.

        Raises:
            FullDiskError: no room; the state before is untouched.
        """
        # Copies, because safetensors refuses tensors that share memory, as parts of an encoder do.
        content = save(
            {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        )
        digest = hashlib.sha256(content).hexdigest()
        file = f"{name}-{digest[:16]}.safetensors"
        card = {"key": self.key, "file": file, "sha256": digest, "entries": dict(entries)}
        with full_disk_named(self.folder):
            write_whole(self.folder / file, content)
            write_whole(
                self.folder / f"{name}.json", json.dumps(card | {"seal": _seal(card)}).encode()
            )
        self._tidy(name, keep=file)

    def read(self, name: str) -> State | None:
        """The state saved under a name; None if there is none. Checked before anything is read.

        Raises:
            CheckpointError: changed, cut, incomplete, or of another training.
        """
        try:
            card = json.loads((self.folder / f"{name}.json").read_bytes())
            seal = card.pop("seal")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise self._damaged(f"{name}.json", "is no complete JSON") from error
        if seal != _seal(card):
            raise self._damaged(f"{name}.json", "is not what was written")
        if card["key"] != self.key:
            raise CheckpointError(
                f"{name}.json in {self.folder.name} belongs to another training. {OTHER_FOLDER}"
            )
        file = card["file"]
        try:
            content = (self.folder / Path(file).name).read_bytes()
        except OSError as error:
            raise self._damaged(file, f"cannot be read ({type(error).__name__})") from error
        if (found := hashlib.sha256(content).hexdigest()) != card["sha256"]:
            raise self._damaged(
                file, f"has SHA-256 {found[:12]}…, not {card['sha256'][:12]}… as it was written"
            )
        try:
            return State(load(content), card["entries"])
        except SafetensorError as error:
            raise self._damaged(file, "is no safetensors file") from error

    def remove(self, name: str) -> None:
        """Forget a state."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        self._tidy(name, keep="")

    def _tidy(self, name: str, keep: str) -> None:
        """Delete the tensors of earlier states of this name."""
        length = len(f"{name}-") + 16 + len(".safetensors")
        for each in self.folder.glob(f"{name}-*.safetensors"):
            if each.name != keep and len(each.name) == length:
                each.unlink(missing_ok=True)

    def _damaged(self, file: str, what: str) -> CheckpointError:
        return CheckpointError(
            f"The checkpoint {file} in {self.folder.name} {what}: it was damaged or cut. Nothing "
            f"was read from it. Copy it back from where it was whole. {OTHER_FOLDER}"
        )


def _seal(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, and move it there when the disk has it."""
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn the several ways in which a full disk shows into one error with a way out.

    Raises:
        FullDiskError: instead of what was raised inside, if the disk was full.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in FULL or "No space left" in str(error)
        if not full:
            raise
        there = next(each for each in (folder, *folder.resolve().parents) if each.exists())
        free = shutil.disk_usage(there).free / 1e6
        raise FullDiskError(
            f"The disk of {folder.name} is full ({free:.0f} MB are free). What was saved before is "
            "kept: make room and resume the training."
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder alone; the lock goes with the process, however that ends.

    Raises:
        CheckpointError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CheckpointError(
                f"Another process is training in {folder.name}. Wait until it ends, or stop it; "
                "a second one needs a run folder of its own."
            ) from error
        yield

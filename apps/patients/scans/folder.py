"""Where the files of scans lie: the private folder of one, and the volumes that pages may show.

The file as it came is named by the scan's number alone: its own name may hold a person's.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings

from apps.errors import MirageError

MAX_BYTES = 200_000_000
_BLOCK = 1 << 20


class ScanRefusedError(MirageError):
    """A file is not taken as a scan; the text says why and what to do."""


class ScanStorageError(MirageError):
    """A file could not be written."""


class ScanFolder:
    """The private folder of one scan, readable by the application's user alone."""

    def __init__(self, pk: UUID) -> None:
        self.path = home() / str(pk)
        self.source = self.path / "source"

    def receive(self, file: BinaryIO) -> tuple[str, int]:
        """Copy an upload; returns its hash and size.

        Raises:
            ScanRefusedError: it is too large; nothing is left of it.
            ScanStorageError: the disk refuses.
        """
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        try:
            self.path.mkdir(parents=True, mode=0o700)
            with os.fdopen(os.open(self.source, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                while block := file.read(_BLOCK):
                    size += len(block)
                    _check_size(size)
                    digest.update(block)
                    out.write(block)
        except OSError as error:
            self.delete()
            raise ScanStorageError(no_room(error)) from error
        except BaseException:
            self.delete()
            raise
        return digest.hexdigest(), size

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder for one attempt, gone after it, as is what a killed one left."""
        for left in self.path.glob("attempt-*"):
            shutil.rmtree(left, ignore_errors=True)
        work = self.path / f"attempt-{secrets.token_hex(8)}"
        try:
            work.mkdir(mode=0o700)
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def delete(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def home() -> Path:
    """The parent of all private folders."""
    return Path(settings.MIRAGE_DATA_DIR) / "scans"


def incoming() -> Path:
    """Where uploads lie while they are being received: not in the system's folder for all."""
    folder = home() / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def shown() -> Path:
    """Where volumes and pictures lie that pages show, each under a name that cannot be guessed."""
    return Path(settings.MEDIA_ROOT) / "scans"


def publish(made: Path) -> Path:
    """Copy a file to where pages find it, whole or not at all.

    Raises:
        ScanStorageError: the disk refuses; nothing is left of it.
    """
    place = shown() / f"{secrets.token_hex(16)}{made.suffix}"
    draft = place.with_suffix(".part")
    try:
        shown().mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, draft)
        draft.chmod(0o600)
        draft.rename(place)
    except OSError as error:
        with suppress(OSError):  # the disk that refused one may refuse the other
            draft.unlink()
        raise ScanStorageError(no_room(error)) from error
    return place


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ScanRefusedError(too_large(size))


def too_large(size: int) -> str:
    """Why a file of this size is not taken."""
    return (
        f"The file has {size / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:,.0f} MB are taken. Send one "
        "T1 series alone, as .nii.gz or as a zip of its DICOM files."
    )


def no_room(error: OSError) -> str:
    """Why a file could not be written."""
    return (
        f"The file could not be written ({error.strerror}). Ask the administrator to make room on "
        "the disk, then try again."
    )

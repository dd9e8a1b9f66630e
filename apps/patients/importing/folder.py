"""The private folder of one import: the file, examples of its cells, and its problems.

Cells lie here and not in the database; the folder is deleted when the rows are stored or the import
is given up.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from django.conf import settings

from apps.patients.importing.source import MAX_BYTES, FileRefusedError

_BLOCK = 1 << 20


class ImportFolder:
    """Where one import's file lies, readable by the application's user alone."""

    def __init__(self, pk: UUID) -> None:
        self.path = Path(settings.MIRAGE_DATA_DIR) / "imports" / str(pk)
        self.file = self.path / "file"
        self.problems = self.path / "problems.sqlite3"
        self._examples = self.path / "examples.json"

    def receive(self, file: BinaryIO) -> tuple[str, int]:
        """Copy an upload; returns its hash and size.

        Raises:
            FileRefusedError: it is empty or too large; nothing is left of it.
        """
        self.path.mkdir(parents=True, mode=0o700)
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        with os.fdopen(os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
            while block := file.read(_BLOCK):
                size += len(block)
                if size > MAX_BYTES:
                    self.delete()
                    raise FileRefusedError(
                        "file_too_large",
                        f"The file has more than {MAX_BYTES // 10**6} MB, the limit. Split it.",
                    )
                digest.update(block)
                out.write(block)
        if not size:
            self.delete()
            raise FileRefusedError("empty", "The file is empty. Export it again and look inside.")
        return digest.hexdigest(), size

    def keep_examples(self, examples: dict[str, tuple[str, ...]]) -> None:
        self._examples.touch(mode=0o600)
        self._examples.write_text(json.dumps(examples), encoding="utf-8", errors="replace")

    def examples(self) -> dict[str, tuple[str, ...]]:
        """Some cells of each column; none once the folder is gone."""
        try:
            found = json.loads(self._examples.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {key: tuple(cells) for key, cells in found.items()}

    def delete(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

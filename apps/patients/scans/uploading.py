"""Receiving a scan: into the private folder, and no further than the limit."""

import tempfile
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile

from apps.patients.scans.folder import MAX_BYTES, incoming, no_room, too_large


class ScanUploadHandler(FileUploadHandler):
    """Writes each file of a form to a private temporary file, which goes when it is closed.

    Django's own handlers keep what is small in memory and put the rest into the system's folder
    for temporary files, where a killed process would leave a person's head.

    Attributes:
        problem: why a file was not received to its end; empty if it was.
    """

    problem = ""
    _file: IO[bytes] | None = None
    _announced = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: Any,  # noqa: N803 - Django's name
        content_length: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._announced = content_length

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        try:
            self._file = tempfile.NamedTemporaryFile(dir=incoming(), prefix="")  # noqa: SIM115
        except OSError as error:
            self.problem = no_room(error)
            raise SkipFile from error

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a block, unless it is one too many; the rest is then read and thrown away."""
        if start + len(raw_data) > MAX_BYTES:
            self.upload_interrupted()
            self.problem = too_large(max(self._announced, start + len(raw_data)))
            raise SkipFile
        assert self._file is not None  # noqa: S101 - Django calls new_file first
        try:
            self._file.write(raw_data)
        except OSError as error:
            self.upload_interrupted()
            self.problem = no_room(error)
            raise SkipFile from error

    def file_complete(self, file_size: int) -> "UploadedFile[bytes] | None":
        """The file without its name: nobody needs it, and it may hold a person's."""
        if self._file is None:
            return None
        self._file.seek(0)
        return UploadedFile(file=self._file, name="scan", size=file_size)

    def upload_interrupted(self) -> None:
        """Whoever sent it has hung up, or it is not wanted: nothing of it is kept."""
        if self._file is not None:
            self._file.close()

"""What a user fills in on the pages of an import."""

from pathlib import PurePosixPath, PureWindowsPath

from django import forms
from django.core.files.uploadedfile import UploadedFile

from apps.patients.importing.source import MAX_BYTES

LONGEST_NAME = 80
ACCEPTED = ".csv,.tsv,.txt,.xlsx,.json,.ndjson"


class ImportFileForm(forms.Form):
    """One EHR file. What is inside it is a worker's business."""

    file = forms.FileField(
        label="Choose a file or drop it here",
        label_suffix="",
        allow_empty_file=True,  # the service says it better, with the way out
        error_messages={"required": "No file was chosen. Choose a file, then press Read the file."},
        widget=forms.FileInput(attrs={"accept": ACCEPTED}),
    )

    def clean_file(self) -> "UploadedFile[bytes]":
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > MAX_BYTES:
            raise forms.ValidationError(
                f"The file has {(file.size or 0) / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:,.0f} MB "
                "are read. Split it into several files with the same header."
            )
        # A path in the name is the browser's business, not ours; a page shows the last part alone.
        last = PurePosixPath(PureWindowsPath(file.name or "").as_posix()).name
        file.name = last[-LONGEST_NAME:] or "file"
        return file

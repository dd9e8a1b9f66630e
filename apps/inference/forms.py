from pathlib import PurePosixPath, PureWindowsPath

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

LONGEST_NAME = 80


class UploadForm(forms.Form):
    """One EHR file. What is inside it is checked by the service, all of it at once."""

    file = forms.FileField(
        label="Choose a CSV file or drop it here",
        label_suffix="",
        allow_empty_file=True,  # the reader of the file says it better, with the way out
        error_messages={"required": "No file was chosen. Choose a CSV file, then press Upload."},
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self) -> "UploadedFile[bytes]":
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        most = settings.MIRAGE_MAX_UPLOAD_BYTES
        if (file.size or 0) > most:
            raise forms.ValidationError(
                f"The file has {(file.size or 0) / 2**20:.1f} MB; at most {most / 2**20:.0f} MB "
                "are read. Split it into several files with the same header."
            )
        # A path in the name is the browser's business, not ours; a page shows the last part alone.
        last = PurePosixPath(PureWindowsPath(file.name or "").as_posix()).name
        file.name = last[-LONGEST_NAME:] or "file"
        return file

"""What a user fills in about a scan."""

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from apps.patients.scans.folder import MAX_BYTES, too_large

ACCEPTED = ".nii,.gz,.mgh,.mgz,.zip"
OLDEST_GIVEN_YEARS = 120


class ScanForm(forms.Form):
    """One T1 scan, and the patient's age when it was acquired. Dates are not asked for."""

    file = forms.FileField(
        label="Choose a T1 scan or drop it here",
        label_suffix="",
        allow_empty_file=True,  # the check of the file says it better, with the way out
        error_messages={"required": "No file was chosen. Choose a file, then press Add the scan."},
        widget=forms.FileInput(attrs={"accept": ACCEPTED}),
    )
    age_years = forms.FloatField(
        label="Age at the scan, years",
        label_suffix="",
        required=False,
        min_value=0,
        max_value=OLDEST_GIVEN_YEARS,
        help_text="May be left empty. Over 89 is kept as 90.",
        error_messages={
            "invalid": "Age must be a number of years, for example 72 or 72.5.",
            "min_value": "Age must be between 0 and 120 years.",
            "max_value": "Age must be between 0 and 120 years.",
        },
        widget=forms.TextInput(
            attrs={"class": "input", "inputmode": "decimal", "autocomplete": "off", "size": 6}
        ),
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        files: "MultiValueDict[str, UploadedFile[bytes]] | None" = None,
        *,
        problem: str = "",
    ) -> None:
        """A form; `problem` says why the file was not received to its end."""
        super().__init__(data, files)
        self._problem = problem
        if problem:
            self.fields["file"].required = False

    def clean_file(self) -> "UploadedFile[bytes] | None":
        """The file, if it was received whole and has no more bytes than are taken."""
        if self._problem:
            raise forms.ValidationError(self._problem)
        file: UploadedFile[bytes] | None = self.cleaned_data["file"]
        if file is not None and (file.size or 0) > MAX_BYTES:
            raise forms.ValidationError(too_large(file.size or 0))
        return file


class HeadsForm(forms.Form):
    """Whether whole heads are kept."""

    keep = forms.BooleanField(required=False)

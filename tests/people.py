"""EHR files of invented people."""

import csv
from io import BytesIO, StringIO

from ml.data.samples import by_concept_names, sample_patients


def ehr_file(count, *, seed=1):
    """A file as a user would upload it."""
    text = StringIO(newline="")
    csv.writer(text).writerows(by_concept_names(sample_patients(count, seed)))
    return BytesIO(text.getvalue().encode())

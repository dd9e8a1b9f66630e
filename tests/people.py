"""EHR files of invented people."""

import csv
from functools import cache
from io import BytesIO, StringIO

from django.utils import timezone

from apps.patients.importing import runner, services
from ml.data.samples import by_concept_names, sample_patients


def ehr_file(count, *, seed=1):
    """A file as a user would upload it."""
    return BytesIO(_content(count, seed))


@cache
def _content(count, seed):
    text = StringIO(newline="")
    csv.writer(text).writerows(by_concept_names(sample_patients(count, seed)))
    return text.getvalue().encode()


def imported(cohort, file, *, now=None):
    """A file in a cohort, by the services of the wizard and the worker's own code."""
    user, now = cohort.created_by, now or timezone.now()
    found = services.start_import(
        cohort=cohort, file=file, name="people.csv", uploaded_by=user, now=now, send=False
    )
    runner.carry_out_step(step_id=found.step.pk)
    found.refresh_from_db()
    services.check(ehr_import=found, requested_by=user, now=now, send=False)
    runner.carry_out_step(step_id=found.step.pk)
    found.refresh_from_db()
    services.commit(ehr_import=found, requested_by=user, now=now, send=False)
    runner.carry_out_step(step_id=found.step.pk)
    found.refresh_from_db()
    assert found.stage == "committed", found.step.reason
    return found

"""What a cohort exports, another cohort imports: the same values, and no answer as a finding."""

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.patients.importing import services
from apps.patients.models import Finding
from tests.factories import CohortFactory, PredictionFactory
from tests.people import ehr_file


def stored(cohort):
    findings = Finding.objects.filter(patient__cohort=cohort).newest()
    return {(f.patient.number, f.concept, f.value) for f in findings.select_related("patient")}


@pytest.mark.parametrize("rows", ["newest", "visits"])
def test_an_export_goes_back_in_without_a_question(client, importer, rows):
    importer.through(ehr_file(12).read())
    cohort, other = importer.cohort, CohortFactory()
    PredictionFactory(run__cohort=cohort, patient=cohort.patients.first())
    client.force_login(cohort.created_by)

    url = reverse("inference:export-file", args=[cohort.pk])
    response = client.get(url, {"rows": rows, "predictions": "on"})
    content = b"".join(response.streaming_content)
    again = importer.start(content, "export.csv", cohort=other, now=timezone.now())

    columns = services.mapping_of(ehr_import=again).columns
    assert not [column.header for column in columns if column.needs_decision]
    importer.user = other.created_by
    importer.check(again)
    assert again.rows_refused == 0
    importer.commit(again)
    assert stored(other) == stored(cohort)
    assert len(stored(cohort)) > 500

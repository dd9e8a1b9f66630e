"""What the engine gets to read of the people of a cohort."""

import csv
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.patients.models import Scan
from apps.registry.training.snapshot import SnapshotError, inputs, participant_of, write_cohort
from ml.concepts import label_proximal_inputs, schema
from ml.data.cohort import Cohort
from ml.data.mri import grid
from tests.factories import NOW, CohortFactory, FindingFactory, PatientFactory
from tests.patients.scans.cases import registered

pytestmark = pytest.mark.django_db
CN, MCI, AD = 0.0, 1.0, 2.0


def patient(cohort, diagnosis=None, *, observed_at=NOW, **values):
    made = PatientFactory(cohort=cohort)
    if diagnosis is not None:
        values["diagnosis"] = diagnosis
    for concept, value in ({"age": 70.0, "female": 1.0} | values).items():
        FindingFactory(patient=made, concept=concept, value=value, observed_at=observed_at)
    return made


@pytest.fixture
def cohort():
    return CohortFactory()


def rows_of(folder):
    with (folder / "participants.tsv").open() as file:
        return {row["participant_id"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_the_engine_reads_findings_diagnoses_and_scans_as_they_are_in_the_database(
    cohort, settings, tmp_path
):
    ill, well, between = patient(cohort, AD), patient(cohort, CN), patient(cohort, MCI)
    scan = registered(between, settings.MEDIA_ROOT)

    told = write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())
    read = Cohort.load(tmp_path / "snapshot")

    assert read.labels == {
        participant_of(ill): 1, participant_of(well): 0, participant_of(between): None
    }  # fmt: skip
    assert read.records[participant_of(ill)].values == {"age": 70.0, "female": 1.0}
    assert read.ids_with_scan() == (participant_of(between),)
    volume = read.scan_path(participant_of(between))
    assert volume.read_bytes() == (settings.MEDIA_ROOT / scan.file).read_bytes()
    assert read.scan_grid == grid(2.0)
    assert (told["people"], told["scans"], told["ad"], told["cn"]) == (3, 1, 1, 1)


def test_nothing_that_is_nearly_the_diagnosis_goes_in(cohort, tmp_path):
    near = label_proximal_inputs()[0]
    patient(cohort, AD, **{near: 1.0})
    write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())
    header = (tmp_path / "snapshot" / "ehr.csv").read_text().splitlines()[0].split(",")
    assert header == ["patient", *inputs()]
    assert near not in header
    assert set(schema()) - set(header) == set(label_proximal_inputs())


def test_a_snapshot_is_of_one_moment(cohort, tmp_path):
    known = patient(cohort, CN)
    FindingFactory(
        patient=known, concept="diagnosis", value=AD,
        observed_at=NOW + timedelta(days=2), recorded_at=NOW + timedelta(days=2),
    )  # fmt: skip
    before = write_cohort(tmp_path / "a", [cohort], as_known_at=NOW + timedelta(days=1))
    after = write_cohort(tmp_path / "b", [cohort], as_known_at=NOW + timedelta(days=3))
    again = write_cohort(tmp_path / "c", [cohort], as_known_at=NOW + timedelta(days=1))
    assert (before["cn"], after["ad"]) == (1, 1)
    assert before["sha256"] == again["sha256"] != after["sha256"]


def test_people_from_whom_nothing_can_be_learned_are_left_out_and_counted(cohort, tmp_path):
    patient(cohort, AD)
    patient(cohort)
    told = write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())
    assert (told["people"], told["unused"]) == (1, 1)


def test_the_same_person_in_two_cohorts_is_one_person(tmp_path):
    cohorts = [CohortFactory(), CohortFactory()]
    for each in cohorts:
        made = patient(each, AD)
        made.identifier_hash = "ab" * 32
        made.save()
    write_cohort(tmp_path / "snapshot", cohorts, as_known_at=timezone.now())
    rows = rows_of(tmp_path / "snapshot").values()
    assert len({row["participant_id"] for row in rows}) == 2
    assert len({row["person_id"] for row in rows}) == 1


def test_a_snapshot_holds_neither_pseudonyms_nor_what_the_database_knows_of_identifiers(
    cohort, tmp_path
):
    made = patient(cohort, AD)
    write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())
    text = "".join(path.read_text() for path in (tmp_path / "snapshot").iterdir())
    assert made.pk.hex in text
    assert made.pseudonym not in text
    assert made.identifier_hash not in text


def test_values_that_contradict_each_other_are_left_out_and_counted(cohort, tmp_path):
    made = patient(cohort, AD, systolic_mmhg=90.0, diastolic_mmhg=100.0)
    told = write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())
    values = Cohort.load(tmp_path / "snapshot").records[participant_of(made)].values
    assert told["contradictions"] == 2
    assert not {"systolic_mmhg", "diastolic_mmhg"} & set(values)


def test_a_cohort_without_labels_and_scans_is_refused_with_a_way_out(cohort, tmp_path):
    patient(cohort)
    with pytest.raises(SnapshotError, match="diagnosis of AD or CN"):
        write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())
    assert not (tmp_path / "snapshot").exists()


def test_a_volume_that_was_changed_is_not_trained_on(cohort, settings, tmp_path):
    scan = registered(patient(cohort, AD), settings.MEDIA_ROOT)
    Scan.objects.filter(pk=scan.pk).update(sha256="0" * 64)
    with pytest.raises(SnapshotError, match="not the one that was stored"):
        write_cohort(tmp_path / "snapshot", [cohort], as_known_at=timezone.now())

"""The hash of a training's data: the same for the same data, and for nothing else."""

from dataclasses import replace

import pytest

from ml.data.cohort import Cohort, Participant
from ml.data.snapshot import Snapshot
from ml.records import PatientRecord


@pytest.fixture
def cohort(tmp_path):
    """Four visits of three persons, three of them with a scan."""
    ids = [f"sub-{number}" for number in range(4)]
    persons = ["a", "a", "b", "c"]
    scans = {each: tmp_path / f"{each}.nii.gz" for each in ids}
    for each in ids[:3]:
        scans[each].write_bytes(each.encode() * 1000)
    return Cohort(
        tmp_path,
        tuple(Participant(each, who, 70.0, "F", 1) for each, who in zip(ids, persons, strict=True)),
        {each: PatientRecord(patient=each, values={"age": 70.0, "bmi": 25.0}) for each in ids},
        {},
        scans=scans,
    )


def hash_of(cohort, split="split"):
    return Snapshot.of(cohort, split).sha256


def test_the_same_data_have_the_same_hash_whatever_the_order_of_their_columns(cohort):
    swapped = {
        each: replace(record, values=dict(reversed(record.values.items())))
        for each, record in reversed(cohort.records.items())
    }
    assert hash_of(replace(cohort, records=swapped)) == hash_of(cohort)


@pytest.mark.parametrize(
    "change",
    [
        lambda cohort: cohort.scan_path("sub-1").write_bytes(b"another scan"),
        lambda cohort: cohort.scan_path("sub-3").write_bytes(b"a scan more"),
        lambda cohort: cohort.scan_path("sub-0").unlink(),
        lambda cohort: cohort.records["sub-2"].values.update(bmi=25.5),
    ],
)
def test_one_scan_or_value_that_differs_gives_another_hash(cohort, change):
    before = hash_of(cohort)
    change(cohort)
    assert hash_of(cohort) != before


def test_a_diagnosis_or_a_split_that_differs_gives_another_hash(cohort):
    first, *others = cohort.participants
    diagnosed = replace(cohort, participants=(replace(first, label=0), *others))
    assert len({hash_of(cohort), hash_of(diagnosed), hash_of(cohort, "another split")}) == 3


def test_people_who_are_left_out_leave_no_trace(cohort):
    """All visits of a person go, with record and scan."""
    kept = cohort.without(["a"])
    assert kept.ids == ("sub-2", "sub-3")
    assert set(kept.records) == set(kept.ids)
    before = hash_of(kept)
    cohort.scan_path("sub-0").write_bytes(b"another scan")
    assert hash_of(cohort.without(["a"])) == before

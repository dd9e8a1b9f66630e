"""The freeze: it goes on where it stopped, can be undone until it is done, and then never."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.patients import deleting, dependents
from apps.patients.models import Membership
from apps.review import runner
from apps.review.blinding import next_slot
from apps.review.models import (
    Amendment,
    Case,
    Reader,
    ReaderStudy,
    Reading,
    Slot,
    StudyEvent,
    StudyFreeze,
    StudyState,
)
from apps.review.order import ALGORITHM
from apps.review.services import setup
from apps.review.services.setup import StudyRefusedError
from ml.data.mri import brain_mask, grid
from tests.review.factories import freeze, make_draft, make_radiologist

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def _mask():
    brain_mask(grid(8.0))  # slow once: longer than a lease that nobody extends


@pytest.fixture
def draft():
    return make_draft(readers=2, cases_per_arm=2, practice_cases=1, repeat_share=0.2)


@pytest.fixture
def opened(draft):
    return freeze(draft)


def copies(settings):
    return sorted((Path(settings.MEDIA_ROOT) / "studies").glob("*"))


def request_freeze(study):
    return setup.request_freeze(study=study, requested_by=study.manager, now=timezone.now())


def test_an_opened_study_has_copies_orders_and_a_hash(opened, settings):
    event = opened.events.get(kind="opened")

    assert opened.protocol_sha256 == opened.plan.sha256()
    assert len(copies(settings)) == opened.cases.count() == 5
    assert len({path.stat().st_size for path in copies(settings)}) == 1
    assert Slot.objects.filter(reader__study=opened).count() == 2 * (4 + 1 + 1)
    assert len(set(Slot.objects.values_list("token", flat=True))) == 12
    assert event.details["order_algorithm"] == ALGORITHM
    assert event.details["seed"] == 1
    assert len(event.details["order_sha256"]) == 64


def test_a_freeze_goes_on_where_it_stopped(draft, settings):
    last = draft.cases.order_by("number").last()
    source = Path(settings.MEDIA_ROOT) / (last.pseudo_mri or last.scan).file
    content = source.read_bytes()
    source.write_bytes(content + b"\0")
    job = request_freeze(draft)

    runner.freeze(freeze_id=job.pk)
    job.refresh_from_db()
    made = copies(settings)
    assert (job.state, job.done) == ("failed", 4)
    assert f"case {last.number} has changed" in job.reason

    source.write_bytes(content)
    setup.retry_freeze(study=draft, requested_by=draft.manager)
    runner.freeze(freeze_id=job.pk)
    draft.refresh_from_db()
    assert draft.state == StudyState.OPEN
    assert set(made) < set(copies(settings))
    assert len(copies(settings)) == 5


def test_a_freeze_that_did_not_succeed_can_be_taken_back(
    draft, settings, django_capture_on_commit_callbacks
):
    source = Path(settings.MEDIA_ROOT) / draft.cases.filter(arm="real").last().scan.file
    source.unlink()
    runner.freeze(freeze_id=request_freeze(draft).pk)

    with django_capture_on_commit_callbacks(execute=True):
        setup.return_to_draft(study=draft, returned_by=draft.manager, now=timezone.now())

    assert ReaderStudy.objects.get().state == StudyState.DRAFT
    assert not StudyFreeze.objects.exists()
    assert not copies(settings)
    assert draft.cases.exclude(file="").count() == 0


def test_an_open_study_is_changed_by_no_service(opened):
    manager, now = opened.manager, timezone.now()
    cohort = opened.cases.first().patient.cohort
    acts = [
        lambda: setup.draw_cases(study=opened, cohorts=[cohort], drawn_by=manager, now=now),
        lambda: setup.change_protocol(
            study=opened, protocol=opened.plan, changed_by=manager, now=now
        ),
        lambda: setup.invite_reader(
            study=opened, user=make_radiologist(), invited_by=manager, now=now
        ),
        lambda: setup.remove_reader(reader=opened.readers.first(), removed_by=manager, now=now),
        lambda: setup.return_to_draft(study=opened, returned_by=manager, now=now),
        lambda: setup.delete_draft(study=opened, deleted_by=manager),
        lambda: setup.request_freeze(study=opened, requested_by=manager, now=now),
    ]
    for act in acts:
        with pytest.raises(StudyRefusedError, match="study is open"):
            act()


def submitted(study):
    slot = Slot.objects.filter(reader__study=study).first()
    now = timezone.now()
    return Reading.objects.create(
        slot=slot, answers={"realism": 1}, first_seen_at=now, saved_at=now, submitted_at=now
    )


FORBIDDEN = {
    "a protocol is changed": lambda s: ReaderStudy.objects.update(protocol={}),
    "a title is changed": lambda s: ReaderStudy.objects.update(title="Other"),
    "a hash is changed": lambda s: ReaderStudy.objects.update(protocol_sha256="0" * 64),
    "a study goes back": lambda s: ReaderStudy.objects.update(state="draft", opened_at=None),
    "a study is deleted": lambda s: ReaderStudy.objects.filter(pk=s.pk)._raw_delete("default"),
    "a case is added": lambda s: Case.objects.create(
        study=s, number=99, arm="real", source_sha256="9" * 64
    ),
    "a case changes its arm": lambda s: s.cases.filter(arm="real").update(arm="pseudo_mri"),
    "a case changes its copy": lambda s: s.cases.update(file="studies/other.nii"),
    "a case changes its hash": lambda s: s.cases.update(sha256="0" * 64),
    "a case loses its person": lambda s: s.cases.update(age_years=None),
    "a case is deleted": lambda s: Case.objects.all()._raw_delete("default"),
    "a reader joins": lambda s: Reader.objects.create(
        study=s, user=make_radiologist(), number=9, invited_at=timezone.now()
    ),
    "a reader is unflagged": lambda s: s.readers.update(knows_cases="x"),
    "an order is changed": lambda s: Slot.objects.filter(position=1).update(position=77),
    "a token is changed": lambda s: Slot.objects.filter(position=1).update(token="0" * 32),
    "a place is added": lambda s: Slot.objects.create(
        reader=s.readers.first(), case=s.cases.first(), position=99, repeat_of=Slot.objects.first()
    ),
    "a place is deleted": lambda s: Slot.objects.all()._raw_delete("default"),
    "a submitted answer is changed": lambda s: Reading.objects.filter(pk=submitted(s).pk).update(
        answers={"realism": 0}
    ),
    "a submission is taken back": lambda s: Reading.objects.filter(pk=submitted(s).pk).update(
        submitted_at=None
    ),
    "a reading is deleted": lambda s: Reading.objects.filter(pk=submitted(s).pk)._raw_delete(
        "default"
    ),
    "an amendment is changed": lambda s: Amendment.objects.filter(pk=amended(s).pk).update(
        answer=1
    ),
    "an amendment is deleted": lambda s: Amendment.objects.filter(pk=amended(s).pk).delete(),
    "an event is changed": lambda s: StudyEvent.objects.update(reason="Never happened."),
    "an event is deleted": lambda s: StudyEvent.objects.all()._raw_delete("default"),
}


def amended(study):
    return Amendment.objects.create(
        reading=submitted(study),
        question="realism",
        answer=0,
        reason="Slip.",
        made_at=timezone.now(),
    )


def test_the_database_refuses_to_change_what_is_frozen(opened):
    allowed = []
    for what, act in FORBIDDEN.items():
        try:
            with transaction.atomic():
                act(opened)
                allowed.append(what)
                transaction.set_rollback(True)
        except IntegrityError as error:
            if "violates" in str(error):  # a constraint on the way, not the trigger that is meant
                allowed.append(what)

    assert not allowed


def test_the_same_acts_are_possible_in_a_draft(draft):
    """The control: it is the freeze that refuses them, not their form."""
    with transaction.atomic():
        ReaderStudy.objects.update(title="Other")
        draft.cases.filter(arm="real").update(arm="pseudo_mri")
        draft.readers.update(knows_cases="x")
        assert draft.cases.filter(arm="pseudo_mri").count() == draft.cases.count()
        draft.cases.all().delete()

    assert ReaderStudy.objects.get().title == "Other"
    assert not draft.cases.exists()


def test_a_locked_study_takes_no_reading(opened):
    ReaderStudy.objects.update(state="locked", locked_at=timezone.now())

    with pytest.raises(IntegrityError, match="only an open study is read"):
        submitted(opened)


def test_a_deleted_patient_takes_the_study_copy_along_and_the_case_is_withdrawn(
    opened, settings, django_capture_on_commit_callbacks
):
    case = opened.cases.filter(is_practice=False, arm="real").first()
    patient, path = case.patient, Path(settings.MEDIA_ROOT) / case.file
    Membership.objects.filter(cohort=patient.cohort, user=opened.manager).update(role="owner")
    assert "1 study copy in a reader study, whose case is withdrawn" in {
        str(amount) for amount in dependents.amounts(cohort=patient.cohort, patient=patient)
    }

    with django_capture_on_commit_callbacks(execute=True):
        deleting.delete_patient(patient=patient, typed=patient.pseudonym, deleted_by=opened.manager)

    case.refresh_from_db()
    assert not path.exists()
    assert case.withdrawn_at
    assert (case.file, case.patient, case.scan, case.age_years, case.is_ad) == ("", *[None] * 4)
    assert case.slots.exists()


def test_a_deleted_cohort_takes_all_its_study_copies_along(
    opened, settings, django_capture_on_commit_callbacks
):
    cohort = opened.cases.first().patient.cohort
    Membership.objects.filter(cohort=cohort, user=opened.manager).update(role="owner")

    with django_capture_on_commit_callbacks(execute=True):
        deleting.delete_cohort(cohort=cohort, typed=cohort.name, deleted_by=opened.manager)

    assert not copies(settings)
    assert opened.cases.filter(withdrawn_at=None).count() == 0
    assert next_slot(opened.readers.first()) is None


def test_a_scan_deleted_alone_leaves_the_copy_which_still_goes_with_its_patient(opened):
    case = opened.cases.filter(arm="real").first()

    case.scan.delete()

    case.refresh_from_db()
    assert (case.scan, case.withdrawn_at) == (None, None)
    assert case.file
    assert case.patient


def test_in_a_draft_the_case_of_a_deleted_patient_goes(draft):
    patient = draft.cases.first().patient
    Membership.objects.filter(cohort=patient.cohort, user=draft.manager).update(role="owner")

    deleting.delete_patient(patient=patient, typed=patient.pseudonym, deleted_by=draft.manager)

    assert draft.cases.count() == 4
    if draft.cases.filter(is_practice=False).count() < 4:
        with pytest.raises(StudyRefusedError, match="Draw the cases again"):
            request_freeze(draft)


def test_patients_of_a_study_that_is_being_frozen_stay(draft):
    request_freeze(draft)
    patient = draft.cases.first().patient

    assert "being frozen" in dependents.busy(cohort=patient.cohort, patient=patient)


def test_fsck_finds_lost_and_foreign_study_copies(opened, settings):
    first, second = opened.cases.all()[:2]
    (Path(settings.MEDIA_ROOT) / first.file).unlink()
    (Path(settings.MEDIA_ROOT) / second.file).write_bytes(b"other")

    found = [leftover for leftover in dependents.leftovers() if "study" in leftover.what]

    assert [leftover.what for leftover in found] == [
        f"case {first.number} of study {opened.pk}: its study copy is gone; it is withdrawn",
        f"case {second.number} of study {opened.pk}: its study copy was changed; it is withdrawn",
    ]
    for leftover in found:
        leftover.remove()
    assert opened.cases.filter(withdrawn_at__isnull=False).count() == 2

"""Setting a study up: who may, what is refused, and what the log keeps."""

from dataclasses import replace

import pytest
from django.utils import timezone

from apps.patients.models import Membership
from apps.review.models import ReaderStudy, StudyEvent
from apps.review.protocol import Arm, Protocol, ProtocolError
from apps.review.services import setup
from apps.review.services.setup import StudyRefusedError
from tests.factories import CohortFactory, UserFactory
from tests.review.factories import make_cohort, make_draft, make_manager, make_radiologist

pytestmark = pytest.mark.django_db


@pytest.fixture
def draft():
    return make_draft(readers=1, cases_per_arm=2, practice_cases=0, repeat_share=0.0)


def invite(study, user, **more):
    return setup.invite_reader(
        study=study, user=user, invited_by=study.manager, now=timezone.now(), **more
    )


def kinds(study):
    return list(study.events.values_list("kind", flat=True))


def test_a_draft_knows_all_that_was_done(draft):
    assert kinds(draft) == ["created", "cases_drawn", "reader_invited"]
    assert draft.events.get(kind="cases_drawn").details["algorithm"]


def test_only_managers_create_studies():
    with pytest.raises(StudyRefusedError, match="Only study managers"):
        setup.create_study(title="Mine", manager=make_radiologist(), now=timezone.now())
    with pytest.raises(StudyRefusedError, match="needs a title"):
        setup.create_study(title=" ", manager=make_manager(), now=timezone.now())


def test_another_manager_changes_nothing(draft):
    other, now = make_manager(), timezone.now()
    acts = [
        lambda: setup.change_protocol(study=draft, protocol=Protocol(), changed_by=other, now=now),
        lambda: setup.draw_cases(study=draft, cohorts=[], drawn_by=other, now=now),
        lambda: setup.request_freeze(study=draft, requested_by=other, now=now),
        lambda: setup.delete_draft(study=draft, deleted_by=other),
    ]
    for act in acts:
        with pytest.raises(StudyRefusedError, match="Only the manager"):
            act()


def test_cases_come_only_from_cohorts_the_manager_belongs_to(draft):
    with pytest.raises(StudyRefusedError, match="that you belong to"):
        setup.draw_cases(
            study=draft, cohorts=[CohortFactory()], drawn_by=draft.manager, now=timezone.now()
        )

    assert draft.cases.count() == 4


def test_another_design_takes_the_drawn_cases_away_and_other_words_do_not(draft):
    def change(**parts):
        return setup.change_protocol(
            study=draft,
            protocol=replace(draft.plan, **parts),
            changed_by=draft.manager,
            now=timezone.now(),
        )

    assert not change(hypotheses="Another one.")
    assert draft.cases.count() == 4
    assert change(cases_per_arm=3)
    assert draft.cases.count() == 0
    assert kinds(draft)[-2:] == ["protocol_changed", "protocol_changed"]


def test_an_arm_that_cannot_be_had_is_refused_with_the_reason(draft):
    arms = (Arm.REAL, Arm.PSEUDO_MRI, Arm.RECONSTRUCTION)
    with pytest.raises(StudyRefusedError, match="holds no encoder"):
        setup.change_protocol(
            study=draft,
            protocol=replace(draft.plan, arms=arms),
            changed_by=draft.manager,
            now=timezone.now(),
        )
    with pytest.raises(ProtocolError):
        setup.change_protocol(
            study=draft,
            protocol=replace(draft.plan, seed=-1),
            changed_by=draft.manager,
            now=timezone.now(),
        )


def test_who_knows_the_cases_is_no_reader(draft):
    cohort = draft.cases.first().patient.cohort
    member = make_radiologist()
    Membership.objects.create(cohort=cohort, user=member, role=Membership.Role.VIEWER)

    with pytest.raises(StudyRefusedError, match="manage this study"):
        invite(draft, draft.manager)
    with pytest.raises(StudyRefusedError, match="the cohort Memory clinic"):
        invite(draft, member)
    assert invite(draft, member, knows_cases="The only reader of 7 T here.").knows_cases


def test_who_is_no_radiologist_or_reads_already_is_refused(draft):
    with pytest.raises(StudyRefusedError, match="no radiologist"):
        invite(draft, make_manager())
    with pytest.raises(StudyRefusedError, match="open account"):
        invite(draft, make_radiologist(is_active=False))
    with pytest.raises(StudyRefusedError, match="already"):
        invite(draft, draft.readers.get().user)


def test_a_simulated_reader_marks_the_study_until_they_are_removed(draft):
    reader = invite(draft, make_radiologist(), is_simulated=True)
    assert ReaderStudy.objects.get().is_simulated

    setup.remove_reader(reader=reader, removed_by=draft.manager, now=timezone.now())
    assert not ReaderStudy.objects.get().is_simulated


def test_what_is_missing_is_said_before_the_opening():
    manager, now = make_manager(), timezone.now()
    study = setup.create_study(title="Empty", manager=manager, now=now)

    with pytest.raises(StudyRefusedError, match=r"No cases are drawn.*No reader is invited"):
        setup.request_freeze(study=study, requested_by=manager, now=now)


def test_a_reader_who_joined_a_cohort_since_holds_the_opening_up(draft):
    cohort = make_cohort(draft.manager, real=2, pseudo=2, name="Second clinic")
    setup.draw_cases(study=draft, cohorts=[cohort], drawn_by=draft.manager, now=timezone.now())
    Membership.objects.create(
        cohort=cohort, user=draft.readers.get().user, role=Membership.Role.VIEWER
    )

    with pytest.raises(StudyRefusedError, match=r"Reader 1 .* belongs to the cohort Second clinic"):
        setup.request_freeze(study=draft, requested_by=draft.manager, now=timezone.now())


def test_a_draft_is_deleted_whole_and_its_sources_stay(draft):
    scans = draft.cases.filter(arm="real").first().scan

    setup.delete_draft(study=draft, deleted_by=draft.manager)

    assert not ReaderStudy.objects.exists()
    assert not StudyEvent.objects.exists()
    scans.refresh_from_db()


def test_an_admin_may_manage_studies():
    assert setup.may_manage(UserFactory(role="admin"))
    assert not setup.may_manage(UserFactory(role="clinician"))

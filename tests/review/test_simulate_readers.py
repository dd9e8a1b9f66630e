"""`manage.py simulate_readers`: programs read a study through its pages."""

import json
from io import StringIO

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.review import blinding
from apps.review.models import Reading, Slot, StudyEvent
from apps.review.services.simulating import invite_simulated_readers
from apps.review.simulation import SimulatedReader, Skill, Truth
from tests.review.factories import freeze, make_draft

pytestmark = pytest.mark.django_db


def simulate(study, *, readers=2, seed=5, **options):
    out = StringIO()
    call_command(
        "simulate_readers",
        study=study.pk,
        readers=readers,
        seed=seed,
        json=True,
        stdout=out,
        stderr=StringIO(),
        **options,
    )
    return json.loads(out.getvalue())


@pytest.fixture
def draft():
    """Ten presentations with two hidden repeats, a practice case, and sessions of five."""
    return make_draft(
        readers=1,
        cases_per_arm=5,
        practice_cases=1,
        repeat_share=0.2,
        cases_per_session=5,
        minimum_viewing_s=20,
    )


def test_programs_read_every_case_through_the_pages_and_say_what_the_seed_says(draft):
    now = timezone.now()
    invite_simulated_readers(study=draft, readers=2, invited_by=draft.manager, now=now)
    study = freeze(draft)

    told = simulate(study, skill=1.5, shift=-0.5)

    programs = list(study.readers.filter(is_simulated=True).order_by("number"))
    assert told["readings"] == {str(program.number): 13 for program in programs}
    skill = Skill(d_prime=1.5, shift=-0.5)
    for slot in Slot.objects.filter(reader=programs[1]).select_related("case", "reading"):
        on = Truth(
            case=slot.case.number,
            is_synthetic=slot.case.arm != "real",
            is_ad=slot.case.is_ad,
            occasion=2 if slot.repeat_of_id else 1,
        )
        program = SimulatedReader(seed=5, number=programs[1].number, skill=skill)
        assert slot.reading.answers == program.read(study.plan, on)
        assert slot.reading.active_ms == program.active_ms(on, at_least_s=20)
        assert slot.reading.submitted_at is not None
    event = StudyEvent.objects.get(study=study, kind="simulated")
    assert event.details == {"seed": 5, "readings": 26, "d_prime": 1.5, "shift": -0.5}
    study.refresh_from_db()
    assert study.is_simulated
    person = study.readers.get(is_simulated=False)
    assert not Reading.objects.filter(slot__reader=person).exists()
    assert blinding.presentation(blinding.next_slot(person))["is_simulated"]
    for name in (programs[0].user.username, ""):
        assert authenticate(None, username=programs[0].user.username, password=name) is None


def test_what_cannot_be_simulated_is_said_before_anything_is_changed(draft):
    with pytest.raises(CommandError, match="No worker is alive"):
        simulate(draft)
    draft.refresh_from_db()
    assert (draft.state, draft.is_simulated, draft.readers.count()) == ("draft", False, 1)
    with pytest.raises(CommandError, match="--readers is 0; give 1 to 50"):
        simulate(draft, readers=0)
    study = freeze(draft)
    with pytest.raises(CommandError, match="open with 0 simulated readers; 2 were"):
        simulate(study)

"""Who lets which version answer, on what evidence, and what happens when two do at once."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from apps.accounts.models import User
from apps.jobs.models import JobState
from apps.registry import promoting, selectors, services
from apps.registry.models import CHALLENGER, Deployment
from ml.card import judge
from tests.factories import NOW, DeploymentFactory, UserFactory
from tests.registry.cases import gate, make_check, make_holdout, signature
from tests.registry.test_bundles import bundle_folder

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _bundles_of_this_test(settings, tmp_path):
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"


@pytest.fixture
def version(tmp_path):
    """Registered bundles with files of their own: `version("2.0")`."""

    def make(name):
        folder = bundle_folder(tmp_path / name, judge("swap_ratio", 0.9, 0.8, 200), version=name)
        return services.register_bundle(folder=folder, now=NOW)

    return make


@pytest.fixture
def pair(version):
    """A champion and a candidate."""
    champion, candidate = version("1.0"), version("2.0")
    DeploymentFactory(bundle=champion)
    return champion, candidate


def promote(bundle, check, **kwargs):
    return promoting.promote(
        bundle=bundle, gate_check=check, **({"signature": signature(), "now": NOW} | kwargs)
    )


def test_a_candidate_that_passed_its_gates_answers_once_somebody_signs(pair):
    champion, candidate = pair
    check = make_check(candidate, champion)
    signed = signature(reason="Better calibrated.")

    deployment = promote(candidate, check, signature=signed)

    assert selectors.champion() == candidate
    assert (deployment.gate_check, deployment.deployed_by) == (check, signed.user)
    assert deployment.reason == "Better calibrated."


def test_the_first_model_needs_no_check(version):
    first = version("1.0")

    promote(first, None)

    assert selectors.champion() == first


def test_without_a_check_of_the_present_pair_nothing_is_promoted(pair, version):
    champion, candidate = pair
    third = version("3.0")
    refusals = {
        "No gates of demo 2.0 beside demo 1.0 were checked": None,
        "no finished check of demo 2.0": make_check(third, champion),
        "Somebody else was quicker: demo 1.0 answers by now": make_check(
            candidate, third, holdout=make_holdout(name="B")
        ),
        "was retired since": make_check(
            candidate, champion, holdout=make_holdout(name="C", retired_at=NOW)
        ),
    }

    for words, check in refusals.items():
        with pytest.raises(promoting.PromotionRefusedError, match=words):
            promote(candidate, check)
    running = make_check(
        candidate, champion, holdout=make_holdout(name="D"), state=JobState.QUEUED, finished_at=None
    )
    with pytest.raises(promoting.PromotionRefusedError, match="no finished check"):
        promote(candidate, running)
    assert selectors.champion() == champion


def test_a_failed_gate_needs_a_justification_that_is_kept_beside_it(pair):
    champion, candidate = pair
    check = make_check(candidate, champion, gate(), gate(passed=False, value=-0.05))

    with pytest.raises(promoting.PromotionRefusedError, match="failed 1 gate, so nothing"):
        promote(candidate, check, despite="  ")
    assert selectors.champion() == champion

    reason = promote(candidate, check, despite="The champion cannot be loaded.").reason
    assert reason.startswith("Better on the holdout. Although: ")
    assert "-0.050; above -0.02: failed." in reason
    assert reason.endswith("The champion cannot be loaded.")


def test_too_few_people_stop_nobody(pair):
    champion, candidate = pair

    promote(candidate, make_check(candidate, champion, gate(), gate(passed=None)))

    assert selectors.champion() == candidate


@pytest.mark.parametrize("role", [User.Role.CLINICIAN, User.Role.STUDY_MANAGER])
def test_only_administrators_decide(pair, role):
    champion, candidate = pair
    signed = signature(UserFactory(role=role))

    with pytest.raises(promoting.NotAdminError):
        promote(candidate, make_check(candidate, champion), signature=signed)
    with pytest.raises(promoting.NotAdminError):
        promoting.set_challenger(bundle=candidate, signature=signed, now=NOW)
    with pytest.raises(promoting.NotAdminError):
        promoting.roll_back(bundle=candidate, seen=champion, signature=signed, now=NOW)
    with pytest.raises(promoting.NotAdminError):
        promoting.end_shadow(signature=signed, now=NOW)


def test_a_version_whose_files_are_damaged_is_not_promoted(pair):
    champion, candidate = pair
    (selectors.folder_of(candidate) / "weights.safetensors").write_bytes(b"damage")

    with pytest.raises(promoting.PromotionRefusedError, match=r"weights\.safetensors"):
        promote(candidate, make_check(candidate, champion))
    assert selectors.champion() == champion


def test_rolling_back_is_the_same_act_without_gates_and_says_so(pair):
    champion, candidate = pair
    promote(candidate, make_check(candidate, champion))

    deployment = promoting.roll_back(
        bundle=champion, seen=candidate, signature=signature(reason="Slope 0.7."), now=NOW
    )

    assert selectors.champion() == champion
    assert deployment.reason == (
        "Roll-back from demo 2.0, without a check: it was champion before. Slope 0.7."
    )
    assert Deployment.objects.count() == 3


def test_nobody_rolls_back_to_a_version_that_never_answered_or_from_one_that_no_longer_does(
    pair, version
):
    champion, candidate = pair
    with pytest.raises(promoting.PromotionRefusedError, match="never the champion"):
        promoting.roll_back(bundle=candidate, seen=champion, signature=signature(), now=NOW)
    promote(candidate, make_check(candidate, champion))
    with pytest.raises(promoting.ChampionChangedError, match=r"demo 2\.0 answers by now"):
        promoting.roll_back(bundle=champion, seen=version("3.0"), signature=signature(), now=NOW)
    assert selectors.champion() == candidate


def test_a_machine_whose_clock_is_behind_promotes_all_the_same(pair):
    champion, candidate = pair

    promote(candidate, make_check(candidate, champion), now=NOW - timedelta(hours=1))

    assert selectors.champion() == candidate


def test_a_challenger_is_one_until_the_champion_changes_or_somebody_ends_it(pair, version):
    champion, candidate = pair
    promoting.set_challenger(bundle=candidate, signature=signature(), now=NOW)
    assert (selectors.champion(), selectors.shadowed_by()) == (champion, candidate)
    with pytest.raises(promoting.PromotionRefusedError, match="answers already"):
        promoting.set_challenger(bundle=candidate, signature=signature(), now=NOW)

    promoting.end_shadow(signature=signature(), now=NOW)
    assert selectors.shadowed_by() is None
    with pytest.raises(promoting.PromotionRefusedError, match="No model answers beside"):
        promoting.end_shadow(signature=signature(), now=NOW)

    promoting.set_challenger(bundle=candidate, signature=signature(), now=NOW)
    third = version("3.0")
    promote(third, make_check(third, champion))
    assert (selectors.champion(), selectors.shadowed_by()) == (third, None)
    assert Deployment.objects.filter(alias=CHALLENGER).count() == 3


class TwoAtOnce:
    """One administrator has promoted and not yet committed; another one promotes meanwhile."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.told = ""

    def run(self):
        with transaction.atomic():
            promote(*self.first)
            other = threading.Thread(target=self._promote_second)
            other.start()
            other.join(timeout=1.0)  # it waits for us, or it is through already
        other.join()

    def _promote_second(self):
        try:
            promote(*self.second)
        except promoting.ChampionChangedError as error:
            self.told = str(error)
        finally:
            connection.close()


@pytest.fixture
def two_at_once(transactional_db, pair, version):
    champion, candidate = pair
    third = version("3.0")
    holdout = make_holdout()
    return TwoAtOnce(
        (candidate, make_check(candidate, champion, holdout=holdout)),
        (third, make_check(third, champion, holdout=holdout)),
    )


@pytest.mark.django_db(transaction=True)
def test_of_two_administrators_who_promote_at_once_one_wins_and_the_other_is_told(two_at_once):
    two_at_once.run()

    assert selectors.champion() == two_at_once.first[0]
    assert "Somebody else was quicker: demo 2.0 answers by now." in two_at_once.told


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_both_would_win(two_at_once, monkeypatch):
    """The negative control of the test above."""
    monkeypatch.setattr(promoting, "one_at_a_time", lambda: None)

    two_at_once.run()

    assert two_at_once.told == ""
    assert Deployment.objects.count() == 3

"""The pages of the registry: the list, a version, two side by side, holdouts, gates, signing."""

from dataclasses import asdict

import pytest
from django.urls import reverse
from django.utils import timezone

from apps.registry import selectors, services
from apps.registry.models import BundleNote, Deployment, GateCheck, Holdout
from apps.registry.templatetags.versions import volume_shape
from ml.card import judge
from ml.concepts import dictionary
from ml.data.mri import grid
from tests.factories import (
    NOW,
    BundleFactory,
    CohortFactory,
    DeploymentFactory,
    InferenceRunFactory,
    PredictionFactory,
    UserFactory,
)
from tests.inference.world import CARD
from tests.registry.cases import gate, make_admin, make_check, make_holdout
from tests.registry.test_bundles import bundle_folder

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def admin():
    user = make_admin()
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def page(client):
    """The text of a page, for whoever asks: a clinician if nobody is named."""

    def get(name, *args, user=None, query=""):
        client.force_login(user or UserFactory())
        return client.get(reverse(f"registry:{name}", args=args) + query).content.decode()

    return get


@pytest.fixture
def post(client, admin):
    def send(view, /, *args, **data):
        client.force_login(admin)
        return client.post(reverse(f"registry:{view}", args=args), data, follow=True)

    return send


def card(**changes):
    return CARD | changes


def estimate(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 200}


def test_without_a_model_the_page_says_how_to_get_one(page):
    text = page("models")

    assert "No model is in use" in text
    assert "register_bundle" in text


def test_the_list_shows_who_answers_with_figures_gates_and_predictions(page):
    former, champion, new = (BundleFactory(card=CARD, version=name) for name in "abc")
    DeploymentFactory(bundle=former)
    DeploymentFactory(bundle=champion, reason="Better on small cohorts.")
    make_check(new, champion, gate(), gate(passed=False), gate(passed=None))
    for bundle, count in ((former, 2), (champion, 1)):
        for _ in range(count):
            PredictionFactory(run=InferenceRunFactory(bundle=bundle))

    text = page("models")

    assert "0.80 (0.75 to 0.84), n 353" in text
    assert "Better on small cohorts." in text
    assert "1 passed" in text
    assert "1 failed" in text
    assert "1 too few" in text
    assert "Champion</span>" in text
    assert "Former champion" in text
    assert '2<span class="cell-sub">stale</span>' in text


def test_the_card_is_shown_in_full(page):
    bundle = BundleFactory(card=card(files={"surrogate.safetensors": "f" * 64}))
    DeploymentFactory(bundle=bundle)

    text = page("version", bundle.pk)

    assert bundle.fingerprint in text
    assert "f" * 64 in text
    assert "0.80 (0.75 to 0.84), n 353" in text
    assert "1,175 people, 400 with AD, 55 to 90 years" in text
    age = dictionary()["age"]
    assert f"<td>years</td><td>{age.low:g} to {age.high:g}</td>" in text
    assert "mmHg" in text
    assert "Not a diagnosis." in text


@pytest.mark.parametrize("spacing_mm", [8.0, 4.0, 2.0, 1.0])
def test_the_shape_on_the_page_is_that_of_the_volumes(spacing_mm):
    shape = grid(spacing_mm).shape

    assert volume_shape(spacing_mm) == " x ".join(str(edge) for edge in shape)


def test_every_gate_of_a_card_is_shown_with_its_verdict(page):
    gates = [
        judge("swap_ratio", 0.9, 0.8, 200),
        judge("other", 0.4, 0.8, 200),
        judge("third", None, 0.8, 12),
    ]
    bundle = BundleFactory(card=card(gates=[asdict(each) for each in gates]))

    text = page("version", bundle.pk)

    for words in (
        'tag-done">Passed</span><span>Swap ratio 0.90, at least 0.80',
        'tag-danger">Failed</span><span>Other 0.40, at least 0.80',
        'tag-warn">Not judged, 12 test people are too few',
    ):
        assert words in text


def test_a_card_from_before_gates_had_words_is_still_read(page):
    old = {"name": "swap_ratio", "value": 0.9, "bound": 0.8, "people": 200, "passed": True}
    bundle = BundleFactory(card=card(gates=[old]))

    assert "Swap ratio 0.90, at least 0.80" in page("version", bundle.pk)


def test_a_model_whose_files_are_gone_is_said_to_be_unusable(page):
    bundle = BundleFactory(card=CARD)
    DeploymentFactory(bundle=bundle)

    assert "The model in use cannot be trusted." in page("models")
    assert "Cannot be used" in page("version", bundle.pk)


def test_lineage_counts_all_predictions_and_links_those_of_ones_own_cohorts(page):
    bundle = BundleFactory(card=CARD)
    mine, other = CohortFactory(name="My clinic"), CohortFactory(name="Elsewhere clinic")
    for cohort in (mine, other):
        run = InferenceRunFactory(bundle=bundle, cohort=cohort, number=1)
        PredictionFactory(run=run)

    text = page("version", bundle.pk, user=mine.created_by)

    assert "2 with 2 predictions" in text
    assert "My clinic" in text
    assert "Elsewhere clinic" not in text


def test_two_versions_judged_on_the_same_people_have_a_paired_difference(page):
    old = BundleFactory(card=card(seed=1, metrics={"auc": estimate(0.7)}))
    new = BundleFactory(card=card(seed=2, metrics={"auc": estimate(0.75)}))
    query = f"?v={old.pk}&v={new.pk}"

    apart = page("compare", query=query)
    assert "Different test people judged them." in apart
    assert "0.75 (0.70 to 0.80), n 200" in apart
    assert 'class="differs"><th scope="row">Seed' in apart

    check = make_check(new, old)
    paired = page("compare", query=query)
    assert "same 200 people, paired" in paired
    assert "+0.010 (\u22120.010 to 0.030)" in paired
    assert "no difference is shown" in paired

    check.delete()
    make_check(old, new, holdout=make_holdout(name="turned"))
    assert "\u22120.010 (\u22120.030 to 0.010)" in page("compare", query=query)


def test_one_version_alone_is_not_compared(page):
    bundle = BundleFactory(card=CARD)

    for query in ("", f"?v={bundle.pk}", f"?v={bundle.pk}&v=99999&v=x&v=99999999999999"):
        assert "Two versions are compared" in page("compare", query=query)


def test_the_curves_hold_own_test_people_and_each_holdout_apart(client, page):
    old, new = (BundleFactory(card=card(created_at=f"202{n}-01-01")) for n in (4, 5))
    make_check(new, old)

    text = page("models")
    found = client.get(reverse("registry:figures")).json()

    assert [series["name"] for series in found["series"]] == [
        "each version's own test people", "holdout People of May",
    ]  # fmt: skip
    assert [len(series["points"]) for series in found["series"]] == [2, 2]
    assert "holdout People of May" in text


def test_notes_are_added_and_never_changed(post, page):
    bundle = BundleFactory(card=CARD)

    text = post("add-note", bundle.pk, text="<b>Slope</b> is low.").content.decode()
    assert "&lt;b&gt;Slope&lt;/b&gt; is low." in text
    assert post("add-note", bundle.pk, text=" ").status_code == 422
    assert BundleNote.objects.count() == 1


def test_a_holdout_is_asked_for_and_retired(post, page, admin):
    form = {"name": "June", "phantoms": 20, "seed": 1, "spacing_mm": "8.0"}
    assert "June" in post("holdouts", **form).content.decode()
    holdout = Holdout.objects.get()
    assert (holdout.phantoms, holdout.spacing_mm) == (20, 8.0)
    post("cancel-holdout", holdout.pk)
    post("retry-holdout", holdout.pk)

    both = post("holdouts", **form | {"name": "July", "phantoms": ""})
    assert "one of the two" in both.content.decode()
    assert both.status_code == 422
    frozen = make_holdout(name="August")
    assert "August is retired" in post("retire-holdout", frozen.pk).content.decode()
    assert "Retired" in page("holdouts", user=admin)


@pytest.fixture
def pair(settings, tmp_path):
    """A champion and a candidate with files of their own."""
    settings.MIRAGE_BUNDLES_DIR = tmp_path / "bundles"
    gates = judge("swap_ratio", 0.9, 0.8, 200)
    found = [
        services.register_bundle(folder=bundle_folder(tmp_path / v, gates, version=v), now=NOW)
        for v in ("1.0", "2.0")
    ]
    DeploymentFactory(bundle=found[0])
    return found


def test_from_the_check_to_the_promotion_and_back(post, page, pair, admin):
    champion, candidate = pair
    holdout = make_holdout()
    asked = post("request-gate-check", candidate.pk, holdout=holdout.pk)
    assert "Queued" in asked.content.decode()
    waiting = GateCheck.objects.get()
    post("cancel-gate-check", waiting.pk)
    refused = page("sign", candidate.pk, "promote", user=admin)
    assert "No gates of demo 2.0 beside demo 1.0 were checked." in refused
    check = make_check(candidate, champion, holdout=holdout)
    assert "1 passed, 0 failed, 0 too few" in page("gate-check", check.pk, user=admin)

    signed = {"check": check.pk, "reason": "Newer people.", "password": PASSWORD}
    wrong = post("sign", candidate.pk, "promote", **signed | {"password": "guess"})
    assert wrong.status_code == 422
    assert "This is not your password" in wrong.content.decode()
    assert selectors.champion() == champion

    done = post("sign", candidate.pk, "promote", **signed)
    assert "demo 2.0 is the champion from now on." in done.content.decode()
    assert "This check is of the past." in page("gate-check", check.pk, user=admin)

    form = page("sign", champion.pk, "roll-back", user=admin)
    assert "demo 2.0 is not to answer any more, because" in form
    back = {"seen": candidate.pk, "reason": "Slope.", "password": PASSWORD}
    post("sign", champion.pk, "roll-back", **back)
    assert selectors.champion() == champion
    history = page("deployments", user=admin)
    assert "Roll-back from demo 2.0, without a check" in history
    assert "Roll back to this" in history


def test_a_failed_gate_asks_for_a_justification_on_the_page(post, page, pair, admin):
    champion, candidate = pair
    check = make_check(candidate, champion, gate(passed=False, value=-0.06))
    signed = {"check": check.pk, "reason": "Newer.", "password": PASSWORD}

    assert "1 gate failed." in page("sign", candidate.pk, "promote", user=admin)
    refused = post("sign", candidate.pk, "promote", **signed)
    assert "failed 1 gate, so nothing was promoted" in refused.content.decode()

    post("sign", candidate.pk, "promote", despite="The other one is broken.", **signed)
    assert "The other one is broken." in Deployment.objects.first().reason


def test_the_challenger_is_put_beside_the_champion_and_taken_away(post, page, pair):
    _, candidate = pair
    signed = {"reason": "For two weeks.", "password": PASSWORD}

    post("sign", candidate.pk, "challenge", **signed)
    assert "Challenger, in shadow" in page("models")
    post("sign", candidate.pk, "end-shadow", **signed)
    assert selectors.shadowed_by() is None
    assert post("sign", candidate.pk, "destroy", **signed).status_code == 404


def test_the_list_asks_the_same_questions_however_many_versions_there_are(
    client, django_assert_max_num_queries
):
    client.force_login(UserFactory())
    model = BundleFactory(card=CARD)
    DeploymentFactory(bundle=model, deployed_at=timezone.now())
    for bundle in [BundleFactory(card=CARD) for _ in range(20)]:
        make_check(bundle, model, holdout=make_holdout(name=bundle.version))

    with django_assert_max_num_queries(25):
        client.get(reverse("registry:models"))

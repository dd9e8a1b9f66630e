"""The page of the models."""

from dataclasses import asdict

import pytest
from django.urls import reverse

from ml.card import judge
from tests.factories import BundleFactory, DeploymentFactory, UserFactory
from tests.inference.world import CARD

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client):
    client.force_login(UserFactory())

    def get():
        return client.get(reverse("registry:models")).content.decode()

    return get


def test_without_a_model_the_page_says_how_to_get_one(page):
    text = page()

    assert "No model is in use" in text
    assert "register_bundle" in text


def test_the_card_is_shown_with_intervals_and_fingerprint(page):
    bundle = BundleFactory(card=CARD)
    DeploymentFactory(bundle=bundle, reason="Better on small cohorts.")

    text = page()

    assert bundle.fingerprint in text
    assert "0.80 (0.75 to 0.84), n 353" in text
    assert "1,175 people, 400 with AD, 55 to 90 years" in text
    assert "Better on small cohorts." in text


def test_every_gate_is_shown_with_its_verdict(page):
    gates = [
        judge("swap_ratio", 0.9, 0.8, 200),
        judge("other", 0.4, 0.8, 200),
        judge("third", None, 0.8, 12),
    ]
    card = CARD | {"gates": [asdict(gate) for gate in gates]}
    DeploymentFactory(bundle=BundleFactory(card=card))

    text = page()

    for words in (
        'Swap ratio 0.90, at least 0.80 <span class="tag tag-done">Passed',
        'Other 0.40, at least 0.80 <span class="tag tag-danger">Failed',
        '<span class="tag tag-warn">Not judged, 12 test people are too few',
    ):
        assert words in text


def test_a_model_whose_files_are_gone_is_said_to_be_unusable(page):
    DeploymentFactory(bundle=BundleFactory(card=CARD))

    text = page()

    assert "Cannot be used" in text
    assert "The model in use cannot be trusted." in text

"""The page of the models."""

import pytest
from django.urls import reverse

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


def test_a_model_whose_files_are_gone_is_said_to_be_unusable(page):
    DeploymentFactory(bundle=BundleFactory(card=CARD))

    text = page()

    assert "Cannot be used" in text
    assert "The model in use cannot be trusted." in text

"""The freeze: every copy made alike, every order kept, and nothing changes after it."""

import pytest

from tests.review.factories import make_open_study

pytestmark = pytest.mark.django_db


def test_it_opens():
    study = make_open_study()
    assert study.state == "open"

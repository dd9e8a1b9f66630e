"""The examples in the docstrings are true."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["agreement", "detection", "differences", "planning"])
def test_the_examples_of_the_docstrings_are_true(module):
    result = doctest.testmod(import_module(f"apps.review.statistics.{module}"))
    assert result.attempted > 0
    assert result.failed == 0

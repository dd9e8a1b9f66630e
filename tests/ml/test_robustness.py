"""Another clinic's table is linked and read in the dictionary's units; values can be hidden."""

from dataclasses import replace

import numpy as np
import pytest

from ml.concepts import dictionary
from ml.data.phantom import PhantomConfig
from ml.data.phantom_people import dense_people
from ml.data.phantom_second import OTHER_NAMES, second_cohort
from ml.evaluation.robustness import (
    LinkedColumn,
    hide_group,
    hide_values,
    link_header,
    read_second,
)
from ml.text_encoder import TextEncoder


@pytest.fixture(scope="module")
def people():
    return dense_people(60, entropy=(3, 1), config=PhantomConfig())


RIGHT = [LinkedColumn(header, name, 1.0) for name, header in OTHER_NAMES.items()]


def test_rightly_linked_the_other_table_says_what_the_records_say(people):
    header, rows = second_cohort(people.records)
    assert header[list(OTHER_NAMES).index("weight_kg")] == "Body weight (lb)"
    read, refused = read_second(RIGHT, rows)
    assert refused == 0
    for record, again in zip(people.records, read, strict=True):
        kept = {name: v for name, v in record.values.items() if name in OTHER_NAMES}
        assert again.values == pytest.approx(kept, abs=0.15)  # inches have one decimal


def test_a_table_read_without_its_units_is_another_one(people):
    _, rows = second_cohort(people.records)
    blind = [replace(link, header=link.header.partition(" (")[0]) for link in RIGHT]
    read, refused = read_second(blind, rows)
    # Temperatures of 97 and heights of 68 are impossible as they stand; weights only look wrong.
    assert refused > len(people)
    heavier = [
        again.values["weight_kg"] / record.values["weight_kg"]
        for record, again in zip(people.records, read, strict=True)
        if {"weight_kg"} <= record.values.keys() & again.values.keys()
    ]
    assert np.median(heavier) == pytest.approx(2.2, abs=0.02)


def test_columns_are_linked_by_name_then_by_text_and_demographics_never_by_text():
    header = ["Stature (in)", "Feels dizzy", "Past cancer", "Shoe size", "Bears the e4 allele"]
    links = link_header(header, TextEncoder())
    assert [link.concept for link in links[:3]] == ["height_cm", "dizziness", "history_malignancy"]
    assert links[0].score == 1.0
    assert 0.6 <= links[1].score < 1.0
    assert [link.concept for link in links[3:]] == [None, None]


def test_no_two_columns_become_one_concept():
    links = link_header(["Feels dizzy", "Dizziness spells", "Giddy and dizzy"], TextEncoder())
    found = [link.concept for link in links if link.concept]
    assert len(found) == len(set(found))


def test_a_share_of_the_values_is_hidden_and_a_group_as_a_whole(people):
    before = sum(len(record.values) for record in people.records)
    hidden = hide_values(people.records, 0.3, np.random.default_rng(0))
    assert sum(len(record.values) for record in hidden) / before == pytest.approx(0.7, abs=0.02)
    assert hide_values(people.records, 0.0, np.random.default_rng(0)) == people.records
    for record in hide_group(people.records, "Vitals"):
        assert not [name for name in record.values if dictionary()[name].group == "Vitals"]
        assert "age" in record.values

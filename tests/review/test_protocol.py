"""What a protocol may say, and what is said of one that cannot be followed."""

from dataclasses import replace

import pytest

from apps.review.protocol import Arm, Protocol, ProtocolError, Question, problems_of

PAPER = Protocol()


def with_question(**parts):
    question = Question(**{"name": "sharp", "text": "Sharp?", "kind": "yes_no", **parts})
    return replace(PAPER, questions=(*PAPER.questions, question))


def test_the_papers_protocol_can_be_followed():
    PAPER.check()

    assert [q.name for q in PAPER.questions[:3]] == ["realism", "usability", "interpretability"]


def test_a_protocol_is_the_same_after_being_stored():
    again = Protocol.from_json(PAPER.to_json())

    assert again == PAPER
    assert again.sha256() == PAPER.sha256()


def test_the_hash_tells_every_change():
    assert replace(PAPER, seed=2).sha256() != PAPER.sha256()


@pytest.mark.parametrize(
    ("protocol", "part", "words"),
    [
        (replace(PAPER, questions=()), "questions", "Add at least one"),
        (with_question(name="realism"), "questions.realism", "2 questions are named realism"),
        (with_question(name="Not good"), "questions.Not good", "lower-case letters"),
        (with_question(text=" "), "questions.sharp", "has no text"),
        (
            with_question(kind="scale", anchors=("bad", "good")),
            "questions.sharp",
            "describes 2 of 5 scale points",
        ),
        (with_question(kind="cues", choices=("one",)), "questions.sharp", "offers 1 choices"),
        (with_question(margin=1.5), "questions.sharp", "margin of 1.5"),
        (with_question(kind="comment", margin=0.1), "questions.sharp", "Take it away"),
        (replace(PAPER, arms=(Arm.REAL,)), "arms", "Choose at least 2"),
        (replace(PAPER, arms=(Arm.PSEUDO_MRI, Arm.REAL)), "arms", "reference is real"),
        (replace(PAPER, cases_per_arm=1), "cases_per_arm", "must be 2 to 500. You gave 1"),
        (replace(PAPER, repeat_share=0.05), "repeat_share", "10% to 20%"),
        (replace(PAPER, alpha=0.5), "alpha", "You gave 0.5"),
        (replace(PAPER, seed=-1), "seed", "You gave -1"),
        (replace(PAPER, spacing_mm=3.0), "spacing_mm", "2, 4, 8 mm"),
        (replace(PAPER, hypotheses=""), "hypotheses", "Write what will be tested"),
    ],
)
def test_what_no_study_can_follow_is_refused_at_its_part(protocol, part, words):
    [problem] = problems_of(protocol)

    assert problem.part == part
    assert words in problem.text
    with pytest.raises(ProtocolError, match=problem.text[:20].replace("(", r"\(")):
        protocol.check()


def test_no_repeats_at_all_are_allowed():
    assert replace(PAPER, repeat_share=0.0).repeats == 0
    replace(PAPER, repeat_share=0.0).check()


@pytest.mark.parametrize("content", [{}, {"surprise": 1}, {"questions": [{"name": "x"}]}])
def test_what_is_no_protocol_is_not_read(content):
    with pytest.raises(ProtocolError):
        Protocol.from_json(content)

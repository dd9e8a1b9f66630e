"""Readings by invented readers, through the services that the reading page calls."""

from datetime import timedelta

import numpy as np
from django.utils import timezone

from apps.review.models import Slot
from apps.review.services import reading

STEPS = 5


def answers_to(plan, *, is_synthetic, quality, hunch, rng):
    """One answer to every question of a protocol."""
    said = {}
    for question in plan.questions:
        felt = quality + rng.normal(0, 0.8)
        match question.kind:
            case "yes_no":
                said[question.name] = int(felt > 0)
            case "scale":
                said[question.name] = int(np.clip(round(3 + felt), 1, STEPS))
            case "guess":
                shift = hunch / 2 if is_synthetic else -hunch / 2
                said[question.name] = int(rng.normal(shift) > 0)
            case "sign":
                said[question.name] = [0, 1, "unsure"][rng.integers(3)]
            case "cues":
                said[question.name] = list(question.choices[: rng.integers(3)])
            case "comment":
                said[question.name] = "=1+1" if rng.random() < 0.2 else ""
    return said


def read_study(study, *, seed=1, gap=0.0, skill=0.0, leave=0):
    """All readers submit all their cases in order.

    Args:
        gap: by how much real scans look better.
        skill: d' of every reader.
        leave: how many of the last reader's cases stay unread.
    """
    rng = np.random.default_rng(seed)
    level = {case.pk: rng.normal(0, 0.6) for case in study.cases.all()}
    slots = Slot.objects.filter(reader__study=study).select_related("reader__study", "case")
    slots = list(slots.order_by("reader__number", "position"))
    now = timezone.now() - timedelta(days=1)
    for slot in slots[: len(slots) - leave]:
        is_real = slot.case.arm == "real"
        seconds = float(rng.lognormal(3.5, 0.3))
        reading.begin_reading(slot=slot, now=now)
        now += timedelta(seconds=seconds)
        reading.submit_reading(
            slot=slot,
            answers=answers_to(
                study.plan,
                is_synthetic=not is_real,
                quality=level[slot.case_id] + (gap if is_real else 0.0),
                hunch=skill,
                rng=rng,
            ),
            revision=0,
            active_ms=round(1000 * seconds),
            now=now,
        )
    return study

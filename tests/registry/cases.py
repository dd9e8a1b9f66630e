"""Bundles, holdouts and checks for tests of the registry, as real as a test can afford."""

import json
import shutil
from dataclasses import asdict

from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.signing import Signature
from apps.jobs.models import JobState
from apps.registry.models import GateCheck, Holdout
from ml.card import Gate
from tests.factories import NOW, UserFactory

DONE = {"state": JobState.SUCCEEDED, "attempt": 1, "tries": 1, "finished_at": NOW}


def make_admin(**kwargs):
    return UserFactory(role=User.Role.ADMIN, **kwargs)


def signature(user=None, reason="Better on the holdout."):
    """As `sign` makes one; the password is tried in the tests of signing."""
    return Signature(user=user or make_admin(), reason=reason, signed_at=timezone.now())


def gate(passed=True, name="auc_difference", value=0.01):
    return Gate(
        name=name, value=value, low=value - 0.01, high=value + 0.01, bound=-0.02, people=200,
        passed=passed, title="AUC, minus the champion's", finding=f"{value:+.3f}",
        limit="above -0.02",
    )  # fmt: skip


def make_holdout(**kwargs):
    """A frozen holdout; the row alone unless a test writes its folder."""
    defaults = {
        "name": "People of May", "phantoms": 20, "people": 20, "people_with_ad": 10,
        "sha256": "a" * 64, "requested_by": make_admin(), "requested_at": NOW, **DONE,
    }  # fmt: skip
    return Holdout.objects.create(**(defaults | kwargs))


def make_check(candidate, champion, *gates, holdout=None, **kwargs):
    """A finished check of a pair."""
    estimate = {"value": 0.8, "low": 0.75, "high": 0.85, "n": 200}
    difference = {"value": 0.01, "low": -0.01, "high": 0.03, "n": 200}
    report = {
        "people": 200, "with_ad": 100, "candidate": {"auc": estimate},
        "champion": {"auc": {**estimate, "value": 0.79}} if champion else None,
        "differences": {"auc": difference} if champion else {}, "subgroups": [],
        "champion_saw_the_holdout": False, "answers": {},
    }  # fmt: skip
    return GateCheck.objects.create(
        candidate=candidate, champion=champion, holdout=holdout or make_holdout(),
        gates=[asdict(each) for each in gates or (gate(),)], report=report,
        requested_by=make_admin(), requested_at=NOW, total=8, done=8, **(DONE | kwargs),
    )  # fmt: skip


def another(folder, copy, **changes):
    """A bundle with the same weights and another card: another version."""
    shutil.copytree(folder, copy)
    card = json.loads((copy / "card.json").read_text()) | {"version": "other"} | changes
    (copy / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return copy

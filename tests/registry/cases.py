"""Bundles, holdouts and checks for tests of the registry, as real as a test can afford."""

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.signing import Signature
from apps.jobs.models import JobState
from apps.registry import services
from apps.registry.evaluations.reports import pack, report_of
from apps.registry.gates import runner
from apps.registry.gates import services as gates
from apps.registry.models import Evaluation, GateCheck, Holdout
from apps.registry.selectors import folder_of
from ml.card import Gate, sha256_of
from tests.factories import NOW, UserFactory

INVENTED = 60
"""People of the holdout that the tests of gates and evaluations share."""
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


VIEW = {  # as ml.evaluation.report.view_of makes one
    "title": "How well demo 0.1 answers",
    "about": "200 people of People of May, 100 with Alzheimer's disease and 100 without.",
    "notice": ["Research use only. Not a diagnosis.", "These people are invented."],
    "sentences": ["In 80 (75 to 85) of 100 pairs.", "A < b & c."],
    "sections": [
        {
            "id": "beside", "title": "Beside what needs no MRI", "reader": "clinician",
            "help": "Each tuned.", "figure": None, "empty": "",
            "table": {
                "caption": "AUC on the same people", "head": ["Model", "AUC"],
                "rows": [["demo 0.1", "0.800 (0.750 to 0.850)"]],
            },
        },
        {
            "id": "roc", "title": "ROC", "reader": "clinician", "help": "", "empty": "",
            "table": None,
            "figure": {
                "data": [
                    {"x": [n / 80 for n in range(81)], "y": [n / 80 for n in range(81)],
                     "name": "Bundle", "mode": "lines", "line": {"color": "#2a8fa3"}},
                    {"x": ["AD"], "y": [0.5], "name": "Points", "error_y": {
                        "type": "data", "array": [0.1], "arrayminus": [0.75]}},
                ],
                "layout": {"xaxis": {"title": {"text": "1 minus specificity"}},
                           "yaxis": {"title": {"text": "Sensitivity"}}},
            },
        },
        {
            "id": "images", "title": "Pictures", "reader": "scientist", "help": "",
            "empty": "No scans, so no picture is judged.", "table": None, "figure": None,
        },
    ],
    "checklist": [["8", "Outcome", "the recorded diagnosis"]],
}  # fmt: skip


def make_evaluation(bundle, holdout=None, **kwargs):
    """A finished evaluation with its view and a file of three small parts."""
    auc = {"value": 0.8, "low": 0.75, "high": 0.85, "n": 200}
    defaults = {
        "view": VIEW, "headline": {"auc": auc, "people": 200, "with_ad": 100},
        "requested_by": make_admin(), "requested_at": NOW, **DONE,
    }  # fmt: skip
    made = Evaluation.objects.create(
        bundle=bundle, holdout=holdout or make_holdout(), **(defaults | kwargs)
    )
    if made.view:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("index.html", "report.json", "plotly.min.js"):
                (Path(folder) / name).write_text(json.dumps({"part": name}))
            made.report_sha256, made.report_bytes = pack(Path(folder), report_of(made))
        made.save()
    return made


def freeze(**kwargs):
    """A holdout as the worker makes it."""
    defaults = {
        "name": "May", "cohorts": [], "phantoms": None, "seed": 1, "spacing_mm": 8.0,
        "requested_by": make_admin(), "now": timezone.now(),
    }  # fmt: skip
    holdout = gates.freeze_holdout(**(defaults | kwargs))
    runner.freeze_holdout(holdout_id=holdout.pk)
    holdout.refresh_from_db()
    return holdout


def with_donor(bundle, person):
    """The same bundle, but for one donor, who is this person; registered as another version."""
    from safetensors.torch import load_file, save_file

    from ml.skip_bank import person_keys

    with tempfile.TemporaryDirectory() as draft:
        folder = shutil.copytree(folder_of(bundle), Path(draft) / "bundle")
        decoder = folder / "decoder.safetensors"
        stored = load_file(decoder)
        stored["decoder.skip_bank.donor_keys"][0] = person_keys([person])[0]
        save_file(stored, decoder)
        card = json.loads((folder / "card.json").read_text())
        card["files"][decoder.name] = sha256_of(decoder)
        (folder / "card.json").write_text(json.dumps(card))
        return services.register_bundle(folder=folder, now=timezone.now())


def another(folder, copy, **changes):
    """A bundle with the same weights and another card: another version."""
    shutil.copytree(folder, copy)
    card = json.loads((copy / "card.json").read_text()) | {"version": "other"} | changes
    (copy / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return copy

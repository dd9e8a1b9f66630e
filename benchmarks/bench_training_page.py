"""How long the page of a training with 10,000 events takes: its HTML, its curves, and to be drawn.

HTML and JSON are asked of the views in this process with the database beside it; the whole is the
sum of both, what a browser waits for before it can draw. Writes
benchmarks/results/training_page.json.

    python -m benchmarks.bench_training_page --events 10000
"""

import argparse
import json
import math
import os
from datetime import timedelta

from benchmarks.bench_patient_list import timed
from benchmarks.stack import empty_database, record

LIMIT_MS = 500
STAGES = ("autoencoder", "graph", "distillation", "readers")
EVERY_METRIC = 100


def build(events):
    """A run in its last third with so many events: losses, measures, pictures, a resume."""
    from django.utils import timezone

    from apps.accounts.models import User
    from apps.registry.models import TrainingEvent, TrainingRun
    from ml.training_plan import STAGES as ALL
    from tests.factories import UserFactory

    now = timezone.now()
    run = TrainingRun.objects.create(
        number=1, plan={"profile": "2mm", "seed": 7}, phantoms=300, requested_at=now,
        requested_by=UserFactory(role=User.Role.ADMIN), state="running", attempt=2, tries=1,
        started_at=now, lease_until=now + timedelta(hours=1), worker="w", stage=STAGES[-1],
        done=10, total=100, snapshot={"people": 300, "scans": 300, "ad": 100, "cn": 200},
    )  # fmt: skip
    each = events // len(STAGES)
    rows = [{"kind": "stage", "stage": stage} for stage in ALL[: ALL.index(STAGES[-1]) + 1]]
    for stage in STAGES:
        for step in range(1, each + 1):
            shape = 1 / math.sqrt(step) + 0.05 * math.sin(step)
            losses = {"loss": shape, "reconstruction": 0.6 * shape, "classification": 0.4 * shape}
            rows.append({
                "kind": "step", "stage": stage, "step": step, "steps": each,
                "values": losses | {"learning rate": 1e-3},
            })  # fmt: skip
            if step % EVERY_METRIC == 0:
                values = {"AUC out of fold": 0.7, "SSIM of 2 training scans": 0.8}
                rows.append({"kind": "metric", "stage": stage, "step": step, "values": values})
    TrainingEvent.objects.bulk_create(
        TrainingEvent(
            run=run, seq=seq, attempt=1 + (seq > len(rows) // 2),
            told_at=now + timedelta(seconds=seq), **row,
        )
        for seq, row in enumerate(rows, start=1)
    )  # fmt: skip
    return run, len(rows)


def measure(events):
    from django.test import Client
    from django.urls import reverse

    run, told = build(events)
    client = Client()
    client.force_login(run.requested_by)
    page, line, curves = (
        reverse(f"registry:{name}", args=[run.pk])
        for name in ("training-run", "training-line", "training-events")
    )

    def get(address, **more):
        response = client.get(address, **more)
        assert response.status_code == 200, response.content[:500]
        return response

    drawn = json.loads(get(curves).content)
    points = sum(len(c) for stage in drawn["curves"].values() for c in stage.values())
    html, data = timed(lambda: get(page)), timed(lambda: get(curves))
    record(
        "training_page",
        events=told,
        limit_ms=LIMIT_MS,
        opens_ms=round(html["ms"] + data["ms"], 1),
        html=html,
        curves=data | {"kb": round(len(get(curves).content) / 1000), "points": points},
        poll_line=timed(lambda: get(line, headers={"HX-Request": "true"})),
        poll_events=timed(lambda: get(f"{curves}?after={told - 5}")),
        load=round(os.getloadavg()[0], 1),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    options = parser.parse_args()
    with empty_database():
        measure(options.events)


if __name__ == "__main__":
    main()

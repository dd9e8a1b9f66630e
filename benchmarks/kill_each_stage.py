"""A training from the web whose worker is killed in every stage, beside one that is left alone.

Both are queued as the form queues them and carried out by real workers; kill -9 goes to the whole
group of the worker, as soon as the row says that a stage has begun (for the last stage: as soon as
the folder of the bundle is there). Stages that are over before the row can say so are named. Writes
benchmarks/results/kill_each_stage.json.

    python -m benchmarks.kill_each_stage --profile tiny --phantoms 40
"""

import argparse
import os
import signal
import sys
import time

from benchmarks.stack import ROOT, empty_database, record

LOOK_EVERY_S = 0.02
PATIENCE_S = 900


class Workers:
    """One sweeper, and a worker for trainings that can be killed and started again."""

    def __init__(self, folder):
        self._folder = folder
        self._count = 0
        self.sweeper = self._start("sweep")
        self.training = self._start("training")

    def _start(self, role):
        from mirage_web import processes

        self._count += 1
        command = [sys.executable, ROOT / "manage.py", "worker", role]
        name = ["--name", f"{role}-{self._count}"]
        return processes.spawn([*command, *name], log=self._folder / f"{role}.log")

    def kill_and_replace(self):
        os.killpg(self.training.pid, signal.SIGKILL)
        self.training.wait()
        self.training = self._start("training")

    def stop(self):
        from mirage_web import processes

        for worker in (self.training, self.sweeper):
            processes.stop(worker)


def wait(condition):
    """Seconds until it is true."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"not true within {PATIENCE_S} s")
        time.sleep(LOOK_EVERY_S)
    return round(time.monotonic() - began, 1)


def asked(options, admin):
    from django.utils import timezone

    from apps.registry.training import services
    from ml.training_plan import TrainingPlan

    return services.request_training(
        plan=TrainingPlan(profile=options.profile, seed=options.seed),
        cohorts=[], phantoms=options.phantoms, note="", requested_by=admin, now=timezone.now(),
    )  # fmt: skip


def killed_in_each_stage(run, workers):
    """Kill the worker once in each stage; returns what happened in each."""
    from apps.jobs.models import JobState
    from apps.registry.training import services
    from apps.registry.training.folder import RunFolder
    from apps.registry.training.presenting import ALL_STAGES

    found = {}
    for place, stage in enumerate(ALL_STAGES):

        def begun(place=place, stage=stage):
            run.refresh_from_db()
            if stage == "write":
                return run.is_final or RunFolder(run.pk).bundle.exists()
            here = ALL_STAGES.index(run.stage) if run.stage else -1
            return run.is_final or (run.state == JobState.RUNNING and here >= place)

        wait(begun)
        if run.is_final or (stage != "write" and run.stage != stage):
            found[stage] = "over before the row said that it had begun"
            continue
        workers.kill_and_replace()
        run.refresh_from_db()
        attempt, where = run.attempt, f"{run.done} of {run.total}"
        noticed = wait(lambda: run.refresh_from_db() or run.state != JobState.RUNNING)
        by_hand = run.state == JobState.FAILED  # lost three times without a new checkpoint
        if by_hand:
            services.resume_training(run=run, resumed_by=run.requested_by)
        again = wait(lambda attempt=attempt: run.refresh_from_db() or run.attempt > attempt)
        found[stage] = {
            "killed_at_step": where, "noticed_after_s": noticed,
            "resumed_after_s": round(noticed + again, 1), "by_hand": by_hand,
        }  # fmt: skip
        print(f"{stage}: {found[stage]}", flush=True)
    wait(lambda: run.refresh_from_db() or run.is_final)
    return found


def measure(options, folder):
    from apps.accounts.models import User
    from tests.factories import UserFactory

    admin = UserFactory(role=User.Role.ADMIN)
    workers = Workers(folder / "log")
    try:
        alone = asked(options, admin)
        alone_s = wait(lambda: alone.refresh_from_db() or alone.is_final)
        print(f"left alone: {alone.state} {alone.bundle} after {alone_s} s", flush=True)
        run = asked(options, admin)
        killed = killed_in_each_stage(run, workers)
    finally:
        workers.stop()
    record(
        "kill_each_stage",
        profile=options.profile,
        phantoms=options.phantoms,
        lease_s=float(os.environ["MIRAGE_JOB_LEASE_S"]),
        killed=killed,
        attempts=run.attempt,
        state=run.state,
        reason=run.reason,
        files_left_alone=alone.bundle.card["files"],
        same_weights=bool(run.bundle and run.bundle.card["files"] == alone.bundle.card["files"]),
        load=round(os.getloadavg()[0], 1),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--phantoms", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease-s", type=float, default=15, help="as installed")
    options = parser.parse_args()
    os.environ["MIRAGE_JOB_LEASE_S"] = str(options.lease_s)
    with empty_database() as folder:
        measure(options, folder)


if __name__ == "__main__":
    main()

"""The whole application: both starts, a cohort of 1,000 people, and the memory it takes.

Limits: second start to serving 15 s; 1,000 people from "run" to all predictions stored 10 s; a
web process 250 MB; a worker 2 GB. The peer of the cohort is the bare predictor on its records.
"""

import csv
import io
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.stack import SHIPPED, demo, record, use_django

PEOPLE = 1000
LIMITS = {"second_start_s": 15, "cohort_s": 10, "web_process_mb": 250, "worker_mb": 2000}


def upload_of(people: int) -> io.BytesIO:
    """An EHR file of invented people, as a clinician would import it."""
    import numpy as np

    from ml.concepts import schema
    from ml.data.phantom_ehr import sample_ehr

    rng = np.random.default_rng(1)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["patient", *schema()])
    writer.writeheader()
    for n in range(people):
        values = sample_ehr(
            rng,
            age_years=60 + n % 29,
            female=n % 2 == 0,
            education_years=8 + n % 12,
            apoe4=n % 3,
            severity=n % 5 - 2,
        )
        writer.writerow({"patient": f"B{n}", **values})
    return io.BytesIO(text.getvalue().encode())


def run_cohort() -> tuple[float, int]:
    """Import, score once to warm up, then time a run by its own row. Returns seconds and rows."""
    from django.core.management import call_command
    from django.utils import timezone

    from apps.accounts.models import User
    from apps.inference import services
    from apps.inference.models import InferenceRun
    from apps.patients.services import create_cohort

    user = User.objects.get(username="clinician")
    cohort = create_cohort(name="Benchmark", description="", created_by=user, now=timezone.now())
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(upload_of(PEOPLE).getvalue())
        file.flush()
        call_command("import_ehr", file.name, cohort=cohort.name, json=True, stdout=io.StringIO())
    first = services.request_run(cohort=cohort, requested_by=user, now=timezone.now())
    wait_for(first.pk)
    run = services.request_run(cohort=cohort, requested_by=user, now=timezone.now())
    wait_for(run.pk)
    run = InferenceRun.objects.get(pk=run.pk)
    assert run.finished_at is not None
    return (run.finished_at - run.requested_at).total_seconds(), run.predictions.count()


def wait_for(run_id: object) -> None:
    from apps.inference.models import InferenceRun

    while not (run := InferenceRun.objects.get(pk=run_id)).is_final:
        time.sleep(0.05)
    assert run.state == "succeeded", run.reason


def memory_mb(supervisor: int) -> tuple[float, float]:
    """Largest resident memory of a web process and of a worker process."""
    web, worker = 0.0, 0.0
    for process in psutil.Process(supervisor).children(recursive=True):
        command = " ".join(process.cmdline())
        resident = process.memory_info().rss / 1e6
        if "gunicorn" in command:
            web = max(web, resident)
        elif "worker" in command:
            worker = max(worker, resident)
    return web, worker


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        with demo(data_dir) as first:
            first_start_s = first.serving_after_s
        with demo(data_dir) as second:
            use_django(data_dir)
            cohort_s, stored = run_cohort()
            web_mb, worker_mb = memory_mb(second.pid)
            second_start_s = second.serving_after_s
    from ml.data.ehr import read_ehr_csv
    from ml.predictor import Predictor

    records = read_ehr_csv(upload_of(PEOPLE), max_rows=PEOPLE).records
    predictor = Predictor.load(SHIPPED)
    predictor.predict(records)
    started = time.perf_counter()
    predictor.predict(records)
    bare_s = time.perf_counter() - started
    measured = {
        "second_start_s": round(second_start_s, 1),
        "cohort_s": round(cohort_s, 2),
        "web_process_mb": round(web_mb),
        "worker_mb": round(worker_mb),
    }
    record(
        "demo",
        first_start_s=round(first_start_s, 1),
        **measured,
        limits=LIMITS,
        predictions_stored=stored,
        bare_predictor_s=round(bare_s, 3),
        ratio_to_bare_predictor=round(cohort_s / bare_s, 1),
        passed=stored == PEOPLE and all(measured[name] <= limit for name, limit in LIMITS.items()),
    )


if __name__ == "__main__":
    main()

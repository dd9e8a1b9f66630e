"""The page of a result on the server, and how long an explanation and a what-if take to be there.

Limits: 300 ms for the page, 3 s for an explanation or a what-if with an idle
worker. The page is the fullest there is: explained, decoded, with a what-if.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.stack import demo, record, use_django

PAGE_LIMIT_MS, JOB_LIMIT_S, JOB_PATIENCE_S = 300, 3, 120
REPEATS = 30


def ended(job: Any) -> Any:
    """Wait for a worker to end a job."""
    deadline = time.monotonic() + JOB_PATIENCE_S
    while not job.is_final and time.monotonic() < deadline:
        time.sleep(0.02)
        job.refresh_from_db()
    assert job.state == "succeeded", f"{job} {job.reason}"
    return job


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="result-page-") as folder:
        data_dir = Path(folder) / "data"
        with demo(data_dir):
            use_django(data_dir)
            record("result_page", **measured())


def measured() -> dict[str, object]:
    from django.test import Client
    from django.utils import timezone

    from apps.accounts.models import User
    from apps.inference import services
    from apps.inference.models import InferenceRun, Prediction

    ended(InferenceRun.objects.get())
    user = User.objects.get(username="clinician")
    answered = Prediction.objects.filter(probability__isnull=False).order_by("patient__number")
    first, prediction = answered[0], answered[1]
    asked = {"requested_by": user, "now": timezone.now()}
    ended(services.request_explanation(prediction=first, **asked))  # reads the ontology once
    ended(services.request_pseudo_mri(prediction=prediction, **asked))
    started = time.perf_counter()
    ended(services.request_explanation(prediction=prediction, **asked))
    explanation_s = time.perf_counter() - started
    started = time.perf_counter()
    changes = {"apoe4": 2.0}
    ended(
        services.request_what_if(
            prediction=prediction, changes=changes, with_volumes=False, **asked
        )
    )
    what_if_s = time.perf_counter() - started
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(user)
    address = prediction.patient.get_absolute_url()
    pages, processor = [], []
    for _ in range(REPEATS + 1):
        started, worked = time.perf_counter(), time.process_time()
        response = client.get(address)
        pages.append(1000 * (time.perf_counter() - started))
        processor.append(1000 * (time.process_time() - worked))
        assert b"What moved the number" in response.content
    pages = sorted(pages[1:])
    median, p95 = statistics.median(pages), pages[int(0.95 * REPEATS)]
    return {
        "page_median_ms": round(median),
        "page_p95_ms": round(p95),
        "page_processor_ms": round(statistics.median(processor[1:])),
        "page_limit_ms": PAGE_LIMIT_MS,
        "explanation_s": round(explanation_s, 2),
        "what_if_s": round(what_if_s, 2),
        "job_limit_s": JOB_LIMIT_S,
        "passed": p95 <= PAGE_LIMIT_MS and max(explanation_s, what_if_s) <= JOB_LIMIT_S,
    }


if __name__ == "__main__":
    main()

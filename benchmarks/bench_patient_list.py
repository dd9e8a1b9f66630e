"""How long the pages of a cohort of 100,000 patients take, and how many queries.

The list in several orders and filters, against a bare indexed query for the same 25 patients in the
same run; the page of inputs, the export and the deletion of the whole cohort beside it. Writes
benchmarks/results/patient_list.json.

    python -m benchmarks.bench_patient_list --patients 100000 --concepts 88
"""

import argparse
import os
import statistics
import time

import psutil

from benchmarks.stack import empty_database, record

LIMIT_MS = 300
REPEATS = 5
PATIENTS_AT_ONCE = 5_000
PATIENTS = """
    INSERT INTO patients_patient (id, cohort_id, number, pseudonym, identifier_hash, created_at)
    SELECT uuidv7(), %(cohort)s, n, 'P-' || lpad(n::text, 4, '0'),
        encode(sha256(n::text::bytea), 'hex'), %(now)s
    FROM generate_series(%(first)s, %(last)s) AS n
"""
FINDINGS = """
    INSERT INTO patients_finding (patient_id, concept, value, unit, observed_at, recorded_at)
    SELECT p.id, c.concept, CASE c.concept WHEN 'age' THEN 50 + (p.number * 7919) %% 40
        WHEN 'female' THEN p.number %% 2 ELSE (p.number * c.place) %% 97 END, '', %(now)s, %(now)s
    FROM patients_patient p, unnest(%(concepts)s::text[]) WITH ORDINALITY AS c(concept, place)
    WHERE p.cohort_id = %(cohort)s AND p.number BETWEEN %(first)s AND %(last)s
        AND (p.number * 31 + c.place * 17) %% 10 > 0
    ORDER BY p.id, c.concept
"""
PREDICTIONS = """
    INSERT INTO inference_prediction
        (id, run_id, patient_id, attempt, answer, probability, low, high, missing, reasons,
         created_at, is_newest, input_sha256)
    SELECT uuidv7(), %(run)s, id, 1,
        (ARRAY['ad', 'cn', 'uncertain'])[1 + number %% 3], (number * 7919 %% 1000) / 1000.0,
        (number * 7919 %% 1000) / 2000.0, 1, '[]', '[]', %(now)s, false,
        encode(sha256(number::text::bytea), 'hex')
    FROM patients_patient WHERE cohort_id = %(cohort)s AND number BETWEEN %(first)s AND %(last)s
"""
BARE = """
    SELECT * FROM patients_patient WHERE cohort_id = %s ORDER BY number LIMIT 25
"""
QUERIES = {
    "first page": {},
    "last page": {"page": "last"},
    "oldest first": {"order": "-age"},
    "by probability": {"order": "-value"},
    "by probability, last page": {"order": "-value", "page": "last"},
    "one answer": {"answer": "ad"},
    "women of 70 to 75": {"sex": "f", "age_from": "70", "age_to": "75"},
    "one import": {"source": "import"},
    "stale": {"result": "stale"},
    "no result yet": {"result": "none"},
    "one pseudonym": {"pseudonym": "P-5000"},
}


def fill(cursor, values, sql, patients, **more):
    """Insert for all patients, some thousand at a time; returns the seconds."""
    began = time.perf_counter()
    for first in range(1, patients + 1, PATIENTS_AT_ONCE):
        last = min(first + PATIENTS_AT_ONCE - 1, patients)
        cursor.execute(sql, values | more | {"first": first, "last": last})
    return round(time.perf_counter() - began, 1)


def build(patients, concepts):
    """A cohort with findings of one import and two runs over everybody."""
    from django.db import connection
    from django.utils import timezone

    from ml.concepts import schema
    from tests.factories import CohortFactory, DeploymentFactory
    from tests.inference.world import CARD, succeeded_run

    names = ["age", "female", *(c for c in schema() if c not in {"age", "female"})][:concepts]
    bundle = DeploymentFactory(bundle__card=CARD).bundle
    cohort = CohortFactory(name="Bench")
    ehr_import = stored_import(cohort, timezone.now())
    values = {"cohort": cohort.pk, "now": ehr_import.committed_at, "concepts": names}
    times = {}
    with connection.cursor() as cursor:
        times["patients_s"] = fill(cursor, values, PATIENTS, patients)
        times["findings_s"] = fill(cursor, values, FINDINGS, patients)
        for number in (1, 2):
            run, now = succeeded_run(cohort, bundle, number), timezone.now()
            type(run).objects.filter(pk=run.pk).update(requested_at=now)
            more = {"run": run.pk, "now": now}
            times[f"predictions_{number}_s"] = fill(cursor, values | more, PREDICTIONS, patients)
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SET max_parallel_workers_per_gather = 0")  # or their time is not counted
        cursor.execute("SELECT count(*) FROM patients_finding")
        times["findings"] = cursor.fetchone()[0]
    return cohort, ehr_import, times


def stored_import(cohort, now):
    from apps.patients.models import EhrImport

    return EhrImport.objects.create(
        cohort=cohort, requested_by=cohort.created_by, requested_at=now, stage="committed",
        file_name="bench.csv", sha256="a" * 64, bytes=1, committed_at=now,
    )  # fmt: skip


def processor_s():
    """Processor time of this process and of its database process together.

    Unlike the clock it does not grow much when others use the machine.
    """
    from django.db import connection

    connection.ensure_connection()
    database = psutil.Process(connection.connection.info.backend_pid)
    return time.process_time() + sum(database.cpu_times()[:2])


def once(function):
    """Seconds of one call."""
    before, began = processor_s(), time.perf_counter()
    function()
    return {
        "s": round(time.perf_counter() - began, 1),
        "cpu_s": round(processor_s() - before, 1),
    }


def timed(function):
    """Milliseconds of a call after one that warms up: median of the clock, and processor time."""
    function()
    spent, before = [], processor_s()
    for _ in range(REPEATS):
        began = time.perf_counter()
        function()
        spent.append(1000 * (time.perf_counter() - began))
    cpu = 1000 * (processor_s() - before) / REPEATS
    return {"ms": round(statistics.median(spent), 1), "cpu_ms": round(cpu, 1)}


def pages(client, cohort, ehr_import, patients):
    """Each query of the list: milliseconds and number of queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    special = {"last": str(-(-patients // 25)), "import": str(ehr_import.pk)}
    found = {}
    for name, query in QUERIES.items():
        asked = {key: special.get(value, value) for key, value in query.items()}

        def get(asked=asked):
            response = client.get(cohort.get_absolute_url(), asked)
            assert response.status_code == 200, response.content[:500]

        with CaptureQueriesContext(connection) as queries:
            get()
        found[name] = {"queries": len(queries)} | timed(get)
        print(f"{name}: {found[name]}", flush=True)
    return found


def measure(patients, concepts):
    from django.db import connection
    from django.test import Client
    from django.urls import reverse
    from django.utils import timezone

    from apps.patients import deleting, exporting

    cohort, ehr_import, times = build(patients, concepts)
    print(f"built: {times}", flush=True)
    client = Client()
    client.force_login(cohort.created_by)
    list_ = pages(client, cohort, ehr_import, patients)

    def bare():
        with connection.cursor() as cursor:
            cursor.execute(BARE, [cohort.pk])
            cursor.fetchall()

    bare_ = timed(bare)
    inputs = timed(lambda: client.get(reverse("patients:inputs", args=[cohort.pk])))
    data = timed(lambda: client.get(reverse("patients:distributions", args=[cohort.pk])))
    print(f"inputs: {inputs}, {data}", flush=True)
    size = []

    def export():
        options = {"cohort": cohort, "as_known_at": timezone.now(), "every_visit": False}
        size.append(sum(len(chunk) for chunk in exporting.chunks(**options)))

    def delete():
        deleting.delete_cohort(cohort=cohort, typed=cohort.name, deleted_by=cohort.created_by)

    record(
        "patient_list",
        patients=patients,
        concepts=concepts,
        built=times,
        limit_ms=LIMIT_MS,
        slowest_ms=max(entry["ms"] for entry in list_.values()),
        slowest_cpu_ms=max(entry["cpu_ms"] for entry in list_.values()),
        list=list_,
        bare_indexed_query=bare_,
        first_page_times_bare=round(list_["first page"]["ms"] / bare_["ms"], 1),
        inputs_page=inputs,
        distributions_json=data,
        export=once(export) | {"mb": round(size[0] / 1e6, 1)},
        delete_cohort=once(delete),
        load=round(os.getloadavg()[0], 1),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--concepts", type=int, default=88)
    options = parser.parse_args()
    with empty_database():
        measure(options.patients, options.concepts)


if __name__ == "__main__":
    main()

"""How long 100,000 rows of 88 columns take from a file to findings, and how much memory.

Against plain csv parsing of the same file, and against a bare COPY of the same findings into the
same table: what checking, matching and pseudonyms cost. Beside the time on the clock stands the
processor time of this program and of the database, which a busy machine does not stretch, and how
long the pages of columns and of problems take. Writes benchmarks/results/import.json.
"""

import argparse
import csv
import multiprocessing
import os
import random
import resource
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.stack import record, use_django

LIMIT_S, LIMIT_MB, PAGE_LIMIT_MS = 60, 400, 300
PAGE_TIMES = 15


def write_file(path, rows):
    """Plausible values in all 88 inputs, a tenth of the cells empty."""
    from ml.concepts import Kind, dictionary, schema

    rng = random.Random(0)  # noqa: S311 - a benchmark's values
    concepts = [dictionary()[name] for name in schema()]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient", *schema()])
        for n in range(rows):
            weight, height = rng.uniform(50, 100), rng.uniform(150, 190)
            known = {
                "weight_kg": f"{weight:.1f}",
                "height_cm": f"{height:.1f}",
                "bmi": f"{weight / (height / 100) ** 2:.4f}",
                "systolic_mmhg": f"{rng.uniform(110, 170):.0f}",
                "diastolic_mmhg": f"{rng.uniform(60, 100):.0f}",
            }
            cells = [f"patient-{n:06d}"]
            for concept in concepts:
                if concept.id in known:
                    cells.append(known[concept.id])
                elif rng.random() < 0.1:
                    cells.append("")
                elif concept.kind is Kind.CONTINUOUS:
                    cells.append(f"{rng.uniform(concept.low, concept.high):.9f}")
                else:
                    cells.append(rng.choice(list(concept.levels.values())))
            writer.writerow(cells)


def measured(function, *arguments):
    """What a function returns, its wall time, and the highest memory of a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(sending, function, arguments))
    child.start()
    found = receiving.recv()
    child.join()
    if "error" in found:
        raise RuntimeError(found["error"])
    return found


def _run(sending, function, arguments):
    try:
        began, used = time.perf_counter(), time.process_time()
        result = function(*arguments)
        spent, used = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        found = {"s": round(spent, 2), "cpu_s": round(used, 2), "mb": round(peak)}
        sending.send({"result": result, **found})
    except BaseException as error:  # told to the parent, which raises it
        sending.send({"error": f"{type(error).__name__}: {error}"})


def plain_csv(path):
    with path.open(newline="") as file:
        return sum(len(row) for row in csv.reader(file))


def database_cpu_s():
    """Processor time so far of the database's process that serves this connection."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def page_ms(user, address):
    """Median time of a page in milliseconds, template and all."""
    from django.conf import settings
    from django.test import Client, override_settings

    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(user)
    times = []
    with override_settings(STORAGES={**settings.STORAGES, "staticfiles": static}):
        for _ in range(PAGE_TIMES):
            began = time.perf_counter()
            answer = client.get(address)
            times.append(1_000 * (time.perf_counter() - began))
            if answer.status_code != 200:
                raise RuntimeError(f"{address}: {answer.status_code}")
    return round(statistics.median(times))


def import_file(data_dir, path):
    use_django(data_dir)
    from django.urls import reverse
    from django.utils import timezone

    from apps.accounts.models import User
    from apps.patients import services as patients
    from apps.patients.importing import runner, services

    user, _ = User.objects.get_or_create(username="bench")
    now = timezone.now()
    cohort = patients.create_cohort(name="Bench", description="", created_by=user, now=now)
    times = {}

    def step(name, start):
        began, used, theirs = time.perf_counter(), time.process_time(), database_cpu_s()
        found = start()
        runner.carry_out_step(step_id=ehr_import.step.pk if name != "analyse" else found.step.pk)
        times[f"{name}_s"] = round(time.perf_counter() - began, 2)
        times[f"{name}_cpu_s"] = round(time.process_time() - used, 2)
        times[f"{name}_database_cpu_s"] = round(database_cpu_s() - theirs, 2)
        return found

    with path.open("rb") as file:
        ehr_import = step(
            "analyse",
            lambda: services.start_import(
                cohort=cohort, file=file, name=path.name, uploaded_by=user, now=now, send=False
            ),
        )
    ehr_import.refresh_from_db()
    columns = reverse("patients:import-columns", args=[ehr_import.pk])
    times["columns_page_ms"] = page_ms(user, columns)
    step(
        "check",
        lambda: services.check(ehr_import=ehr_import, requested_by=user, now=now, send=False),
    )
    ehr_import.refresh_from_db()
    problems = reverse("patients:import-problems", args=[ehr_import.pk])
    last = services.page_of_problems(ehr_import=ehr_import).pages
    times["problems_page_ms"] = page_ms(user, f"{problems}?page={last}")
    step(
        "commit",
        lambda: services.commit(ehr_import=ehr_import, requested_by=user, now=now, send=False),
    )
    ehr_import.refresh_from_db()
    if ehr_import.stage != "committed":
        raise RuntimeError(f"{ehr_import.stage}: {ehr_import.step.reason}")
    return times | {"findings": ehr_import.findings, "patients": ehr_import.patients_new}


def bare_copy(data_dir, path):
    """The findings of that import once more, into the emptied table, as bytes made beforehand."""
    use_django(data_dir)
    from django.db import connection

    columns = "patient_id, observed_at, recorded_at, concept, value, unit"
    with connection.cursor() as cursor:
        with (
            path.open("wb") as file,
            cursor.copy(f"COPY patients_finding ({columns}) TO STDOUT (FORMAT binary)") as copy,
        ):
            for block in copy:
                file.write(block)
        cursor.execute("TRUNCATE patients_finding")
        began, theirs = time.perf_counter(), database_cpu_s()
        with (
            path.open("rb") as file,
            cursor.copy(f"COPY patients_finding ({columns}) FROM STDIN (FORMAT binary)") as copy,
        ):
            while block := file.read(1 << 20):
                copy.write(block)
        spent = time.perf_counter() - began
    return {"s": round(spent, 2), "cpu_s": round(database_cpu_s() - theirs, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="mirage-bench-") as folder:
        data_dir = Path(folder) / "data"
        (data_dir / "static").mkdir(parents=True)
        use_django(data_dir)
        from django.core.management import call_command

        from mirage_web import embedded

        path = Path(folder) / "file.csv"
        write_file(path, rows)
        with embedded.running(data_dir, durable=True):
            call_command("migrate", verbosity=0)
            csv_ = measured(plain_csv, path)
            done = measured(import_file, data_dir, path)
            copied = measured(bare_copy, data_dir, Path(folder) / "findings.bin")
        times, bare = done["result"], copied["result"]
        total = round(times["check_s"] + times["commit_s"], 2)
        used = sum(
            times[f"{step}_{whose}cpu_s"]
            for step in ("check", "commit")
            for whose in ("", "database_")
        )
        record(
            "import",
            rows=rows,
            columns=88,
            file_mb=round(path.stat().st_size / 1e6, 1),
            **times,
            validated_and_stored_s=total,
            validated_and_stored_cpu_s=round(used, 2),
            peak_memory_mb=done["mb"],
            plain_csv_s=csv_["s"],
            plain_csv_cpu_s=csv_["cpu_s"],
            plain_csv_mb=csv_["mb"],
            bare_copy_s=bare["s"],
            bare_copy_database_cpu_s=bare["cpu_s"],
            times_plain_csv=round(total / csv_["s"], 1),
            times_bare_copy=round(total / bare["s"], 2),
            limit_s=LIMIT_S,
            limit_mb=LIMIT_MB,
            page_limit_ms=PAGE_LIMIT_MS,
            load=round(os.getloadavg()[0], 1),
        )


if __name__ == "__main__":
    main()

"""Sample files of invented patients, for download beside the upload form.

Made by `python -m ml.data.samples static/samples`; the same files come out every time.
"""

import csv
import io
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.concepts import dictionary, normalise_name, schema
from ml.data.phantom_ehr import sample_ehr

SEED = 20260302
PATIENTS = 50


@dataclass(frozen=True, slots=True)
class SamplePatient:
    """An invented person: findings by concept, and the severity that drove them."""

    values: Mapping[str, float]
    severity: float


def sample_patients(count: int, seed: int) -> list[SamplePatient]:
    """Invented patients, every second one with the imagined disease."""
    rng = np.random.default_rng(seed)
    patients = []
    for number in range(count):
        ill = number % 2
        severity = float(rng.normal(1.6 * ill, 1.0))
        values = sample_ehr(
            rng,
            age_years=float(np.clip(rng.normal(74.5, 7.0), 55.0, 94.0)),
            female=bool(rng.random() < 0.5),
            education_years=float(np.clip(rng.normal(16.0 - ill, 2.8), 6.0, 20.0)),
            apoe4=int(rng.binomial(2, 0.38 if ill else 0.16)),
            severity=severity,
        )
        patients.append(SamplePatient(values, severity))
    return patients


def by_concept_names(patients: Sequence[SamplePatient]) -> list[list[str]]:
    """Header and rows under the names of the concept dictionary; empty where not observed."""
    header = ["patient", *("sex" if name == "female" else name for name in schema())]
    rows = [
        [f"demo-{number:03d}", *(_plain(name, patient.values.get(name)) for name in schema())]
        for number, patient in enumerate(patients, start=1)
    ]
    return [header, *rows]


def by_adni_fields(patients: Sequence[SamplePatient]) -> list[list[str]]:
    """The same under ADNI's field names and codes, with two columns that are left out on reading.

    PTID is of a site that ADNI does not have. VISCODE is administrative; MMSE (made up from the
    severity) is close to the diagnosis.
    """
    fields = [dictionary()[name].fields[0] for name in schema()]
    rows = []
    for number, patient in enumerate(patients, start=1):
        mmse = min(30, max(0, round(29.0 - 2.0 * max(patient.severity, 0.0))))
        cells = (_coded(name, patient.values.get(name)) for name in schema())
        rows.append([f"999_S_{number:04d}", "bl", *cells, str(mmse)])
    return [["PTID", "VISCODE", *fields, "MMSE"], *rows]


def with_errors(patients: Sequence[SamplePatient]) -> list[list[str]]:
    """One of each common mistake, a row each, below a header with three of its own."""
    header, *rows = by_concept_names(patients)
    at = {name: index for index, name in enumerate(header)}
    mistakes: Iterable[Mapping[str, str]] = (
        {},
        {"age": "213"},
        {"age": "31/02/1948"},
        {"weight_kg": "81,5"},
        {"weight_kg": "178 lb"},
        {"height_cm": "1.70"},
        {"systolic_mmhg": "<90"},
        {"systolic_mmhg": "72", "diastolic_mmhg": "131"},
        {"temperature_c": "nan"},
        {"bmi": "=C10/D10"},
        {"education_years": "1e309"},
        {"apoe4": "3"},
        {"history_smoking": "sometimes"},
        {"nausea": "2"},
        {"patient": " DEMO-001"},
        {"patient": ""},
    )
    for row, mistake in zip(rows, mistakes, strict=False):
        for name, cell in mistake.items():
            row[at[name]] = cell
    rows = [[*row, "", "", ""] for row in rows[: len(tuple(mistakes)) + 1]]
    rows[-1].append("one cell too many")
    return [[*header, "Body weight", "shoe size", "MMSE"], *rows]


def write_samples(folder: Path) -> list[Path]:
    """Write the three sample files and return their paths."""
    patients = sample_patients(PATIENTS, SEED)
    tables = {
        "sample-50-patients.csv": by_concept_names(patients),
        "sample-50-patients-adni.csv": by_adni_fields(patients),
        "sample-with-errors.csv": with_errors(patients),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        (folder / name).write_text(text.getvalue(), encoding="utf-8")
    return [folder / name for name in tables]


def _plain(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return ("M", "F")[int(value)] if name == "female" else f"{value:.10g}"


def _coded(name: str, value: float | None) -> str:
    """The value as ADNI's field of this concept codes it."""
    concept = dictionary()[name]
    codes = concept.field_codings.get(normalise_name(concept.fields[0]), {})
    if value is None:
        return "-4" if "-4" in codes else ""
    listed = [code for code, meant in codes.items() if meant == value]
    if not listed and any(not math.isnan(meant) for meant in codes.values()):
        raise ValueError(f"{concept.fields[0]} has no code for {concept.describe(value)}")
    return listed[0] if listed else f"{value:.10g}"


if __name__ == "__main__":
    for path in write_samples(Path(sys.argv[1] if len(sys.argv) > 1 else "static/samples")):
        print(path)

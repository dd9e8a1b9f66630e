"""Invented people with a scan, a health record and a known truth, to develop and test with.

One hidden severity drives both the scan and the record. In the scan it widens the ventricles,
shrinks the hippocampus and thins the cortex; age does a little of the same, and everybody has a
brain shape, sulci and amounts of atrophy of their own, so that the scan is evidence of the disease
and not proof. All anatomy comes from `ml.data.phantom_anatomy`, the record from `.phantom_ehr`.
"""

import csv
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray
from numpy.random import Generator, SeedSequence
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ml.concepts import schema
from ml.data.cohort import CohortError
from ml.data.mri import Grid, grid, write_volume
from ml.data.phantom_anatomy import REGIONS, Anatomy, anatomy
from ml.data.phantom_ehr import sample_ehr

LATTICE_MM = 8.0  # of random fields, on every grid: a person looks alike on all of them
FLOW_STEPS = 5  # a flow is the 2^5-fold composition of a small step, which keeps it invertible
T1_SCALE = 1000.0  # intensity of white matter is about this on the stored scale
POOL_FROM = 24  # people; below this, starting processes takes longer than it saves


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomConfig:
    """How phantoms are made; written to cohort.json.

    Attributes:
        ad_share: probability of true AD.
        ad_severity: mean severity in AD; it is N(0, 1) in the healthy and has unit variance in AD.
        label_error_rate: probability that the recorded diagnosis is the wrong one, 0 to 1.
        ventricle_mm: widening per unit of severity, and its own standard deviation between people.
        hippocampus_mm: shrinkage of the radius, likewise.
        cortex_mm: thinning, likewise.
        shape_mm, folding_mm: standard deviation of the individual displacement at the scale of
            lobes (24 mm) and of gyri (7 mm).
        bias: standard deviation of the log of the scanner's shading.
        noise: standard deviation of the noise at 2 mm, as a share of white matter's intensity.
    """

    ad_share: float = 0.5
    ad_severity: float = 2.0
    label_error_rate: float = 0.0
    ventricle_mm: tuple[float, float] = (0.70, 0.60)
    hippocampus_mm: tuple[float, float] = (0.48, 0.34)
    cortex_mm: tuple[float, float] = (0.14, 0.10)
    shape_mm: float = 2.0
    folding_mm: float = 1.2
    bias: float = 0.05
    noise: float = 0.02


@dataclass(frozen=True, slots=True)
class Person:
    """Who a phantom is, before any voxel.

    Attributes:
        ventricle_mm, hippocampus_mm, cortex_mm: widening, shrinkage and thinning in mm.
        state: true disease; `label` is what was recorded.
    """

    id: str
    age_years: float
    female: bool
    education_years: float
    apoe4: int
    state: int
    label: int
    severity: float
    ventricle_mm: float
    hippocampus_mm: float
    cortex_mm: float


def sample_person(participant_id: str, rng: Generator, config: PhantomConfig) -> Person:
    """Draw the hidden state and what depends on it."""
    state = int(rng.random() < config.ad_share)
    label = state ^ int(rng.random() < config.label_error_rate)
    severity = rng.normal(config.ad_severity * state, 1.0)
    age = float(np.clip(rng.normal(73.5 + 1.5 * state, 6.5), 55, 93))
    decades = (age - 74) / 10
    own = rng.standard_normal(3)
    return Person(
        id=participant_id,
        age_years=round(age, 1),
        female=bool(rng.random() < 0.5),
        education_years=float(np.clip(round(rng.normal(15.8 - 0.6 * state, 2.8)), 6, 20)),
        apoe4=int(rng.binomial(2, 0.36 if state else 0.15)),
        state=state,
        label=label,
        severity=float(severity),
        ventricle_mm=_amount(1.6 + 0.6 * decades, severity, own[0], config.ventricle_mm, 5.0),
        hippocampus_mm=_amount(0.2 + 0.15 * decades, severity, own[1], config.hippocampus_mm, 2.2),
        cortex_mm=_amount(0.2 + 0.08 * decades, severity, own[2], config.cortex_mm, 0.8),
    )


def _amount(
    base: float, severity: float, own: float, effect: tuple[float, float], most: float
) -> float:
    """Base, plus what the disease does, plus the person's own; bounded where anatomy ends."""
    return float(np.clip(base + effect[0] * severity + effect[1] * own, -most / 3, most))


def phantom_scan(
    person: Person, anatomy: Anatomy, grid: Grid, rng: Generator, config: PhantomConfig
) -> tuple[Float32[ndarray, "x y z"], dict[str, float]]:
    r"""Draw a person's T1 volume and measure its regions.

    $$x = T \circ \varphi_D \circ \varphi_I \cdot \text{shading} + \text{noise}$$

    with the template $T$, disease and age $\varphi_D$ (a flow for ventricles and hippocampus, a
    small displacement for the cortex) and the individual's shape $\varphi_I$.

    Returns:
        The volume and the regions' volumes in ml.
    """
    individual = _individual_displacement(anatomy, grid, rng, config)
    disease = _disease_displacement(person, anatomy, grid, rng)
    here = _identity(grid)
    places = here + individual
    places = places + _sample(disease, places, grid)
    maps = torch.tensor(
        np.concatenate((anatomy.t1[None], anatomy.regions, anatomy.periventricular[None]))
    )
    t1, *regions, periventricular = _sample(maps, places, grid).numpy()
    volumes = {
        f"{name}_ml": round(float(region.sum()) * grid.voxel_ml, 3)
        for name, region in zip(REGIONS, regions, strict=True)
    }
    lesions = float(np.clip(rng.normal(0.15 + 0.01 * (person.age_years - 74), 0.12), 0, 0.6))
    tissue = t1 * (1 - lesions * 0.5 * periventricular)
    return _scanner(tissue, grid, rng, config), volumes


def _scanner(
    tissue: Float32[ndarray, "x y z"], grid: Grid, rng: Generator, config: PhantomConfig
) -> Float32[ndarray, "x y z"]:
    shading = np.exp(config.bias * _random_field(grid, rng, 40.0, 1)[0].numpy())
    # A voxel of twice the edge averages eight of them; only part of that gain is real in a scan.
    noise = config.noise * (2 / grid.spacing_mm) ** 0.5
    noisy = tissue * shading + noise * rng.standard_normal(grid.shape, dtype=np.float32)
    gain = T1_SCALE * math.exp(rng.normal(0, 0.15))
    return np.maximum(np.where(tissue > 0.04, noisy, 0) * gain, 0).astype(np.float32)


def _individual_displacement(
    anatomy: Anatomy, grid: Grid, rng: Generator, config: PhantomConfig
) -> Tensor:
    """A smooth displacement in mm: size, lobes and gyri of this person."""
    stretch = rng.normal(0, 0.02, 3).astype(np.float32)
    lobes = _random_field(grid, rng, 24.0, 3) * config.shape_mm
    gyri = _random_field(grid, rng, 7.0, 3) * config.folding_mm
    gyri = gyri * (0.2 + 0.8 * torch.tensor(anatomy.superficial))
    centre = torch.tensor([0.0, -18.0, 10.0]).reshape(3, 1, 1, 1)
    scaled = torch.tensor(stretch).reshape(3, 1, 1, 1) * (
        torch.tensor(grid.coordinates_mm()) - centre
    )
    return lobes + gyri + scaled


def _disease_displacement(person: Person, anatomy: Anatomy, grid: Grid, rng: Generator) -> Tensor:
    """What age and disease do to the template, in mm; the two sides differ a little."""
    side = torch.tensor(np.tanh(grid.coordinates_mm()[0] / 8))
    uneven = rng.normal(0, [0.10, 0.08]).astype(np.float32)
    velocity = person.ventricle_mm * (1 + uneven[0] * side) * torch.tensor(
        anatomy.ventricle_flow
    ) + person.hippocampus_mm * (1 + uneven[1] * side) * torch.tensor(anatomy.hippocampus_flow)
    flow = _flow(velocity, grid)
    where = (1 + 0.5 * _random_field(grid, rng, 16.0, 1)).clamp(0.2, 1.8)
    return flow + person.cortex_mm * where * torch.tensor(anatomy.thinning)


def _flow(velocity: Tensor, grid: Grid) -> Tensor:
    """Follow a velocity for one unit of time by scaling and squaring, at 4 mm or coarser."""
    stride = max(1, round(4 / grid.spacing_mm))
    coarse_grid = Grid(
        shape=tuple(-(-edge // stride) for edge in grid.shape),  # type: ignore[arg-type]
        spacing_mm=grid.spacing_mm * stride,
    )
    step = velocity[:, ::stride, ::stride, ::stride] / 2**FLOW_STEPS
    here = _identity(coarse_grid)
    for _ in range(FLOW_STEPS):
        step = step + _sample(step, here + step, coarse_grid)
    return _resize(step, coarse_grid, grid)


def _random_field(grid: Grid, rng: Generator, scale_mm: float, maps: int) -> Tensor:
    """Gaussian random fields of unit variance and a given correlation length."""
    edges = tuple(math.ceil((edge - 1) * grid.spacing_mm / LATTICE_MM) + 1 for edge in grid.shape)
    # The lattice of the 2 mm grid serves all, so that the same draws give the same person.
    shape = tuple(max(edge, 28) for edge in edges)
    lattice = rng.standard_normal((maps, *shape), dtype=np.float32)
    sigma = scale_mm / LATTICE_MM
    smooth = ndimage.gaussian_filter(lattice, (0, sigma, sigma, sigma), mode="wrap")
    smooth = smooth / smooth.std()
    source = Grid(shape=shape, spacing_mm=LATTICE_MM)  # type: ignore[arg-type]
    return _resize(torch.tensor(smooth), source, grid)


def _resize(maps: Tensor, source: Grid, target: Grid) -> Tensor:
    """Linear interpolation between two grids that start at the same point."""
    if source.spacing_mm == target.spacing_mm:
        return maps[:, : target.shape[0], : target.shape[1], : target.shape[2]]
    times = source.spacing_mm / target.spacing_mm
    size = [round((edge - 1) * times) + 1 for edge in source.shape]
    fine = functional.interpolate(maps[None], size=size, mode="trilinear", align_corners=True)[0]
    missing = [max(0, edge - have) for edge, have in zip(target.shape, size, strict=True)]
    if any(missing):
        pad = (0, missing[2], 0, missing[1], 0, missing[0])
        fine = functional.pad(fine[None], pad, mode="replicate")[0]
    return fine[:, : target.shape[0], : target.shape[1], : target.shape[2]]


def _identity(grid: Grid) -> Tensor:
    return torch.tensor(grid.coordinates_mm())


def _sample(maps: Tensor, places_mm: Tensor, grid: Grid) -> Tensor:
    """Trilinear values of `maps` on `grid` at MNI152 places; beyond the edge, the edge."""
    affine = grid.affine
    origin = torch.tensor(affine[:3, 3], dtype=torch.float32).reshape(3, 1, 1, 1)
    step = torch.tensor(np.diag(affine)[:3], dtype=torch.float32).reshape(3, 1, 1, 1)
    edges = torch.tensor(grid.shape, dtype=torch.float32).reshape(3, 1, 1, 1)
    unit = (places_mm - origin) / step / (edges - 1) * 2 - 1
    where = unit.flip(0).permute(1, 2, 3, 0)[None]
    return functional.grid_sample(maps[None], where, padding_mode="border", align_corners=True)[0]


def make_phantom_cohort(
    out: Path,
    *,
    patients: int,
    spacing_mm: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    config: PhantomConfig | None = None,
    workers: int | None = None,
    mark: str = "",
) -> Path:
    """Write a cohort folder (`ml.data.cohort`) of phantoms, with truth.tsv and cohort.json.

    The same seed gives the same people, and the first N of a larger cohort are the smaller cohort,
    whatever the number of processes: each person has random numbers of its own.

    Args:
        out: folder that does not hold a cohort yet.
        patients: how many, each with a scan and a record.
        spacing_mm: 8, 4, 2 or 1 mm.
        seed: decides everything that is drawn.
        progress: called with people done and people in all.
        config: strength of the effects; the defaults if None.
        workers: processes; as many as processors if None.
        mark: letters and digits in every name; without it all cohorts call their people alike.

    Raises:
        CohortError: the folder holds a cohort already.
        UnknownSpacingError, ValueError: no such grid, or no patients.
    """
    if patients < 1:
        raise ValueError(f"A cohort of {patients} patients cannot be made; ask for at least 1.")
    if (out / "participants.tsv").exists():
        raise CohortError(
            f"The folder {out.name} holds a cohort already. Give another one or remove it first."
        )
    config, on, width = config or PhantomConfig(), grid(spacing_mm), max(4, len(str(patients)))
    jobs = [
        _Job(out, f"sub-{mark}{number:0{width}d}", entropy, on, config)
        for number, entropy in enumerate(SeedSequence(seed).spawn(patients), start=1)
    ]
    rows = []
    for row in _run(jobs, on, workers):
        rows.append(row)
        if progress is not None:
            progress(len(rows), patients)
    _write_tables(out, rows)
    made = {"patients": patients, "spacing_mm": on.spacing_mm, "seed": seed, **asdict(config)}
    (out / "cohort.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return out


@dataclass(frozen=True, slots=True)
class _Job:
    out: Path
    participant_id: str
    entropy: SeedSequence
    grid: Grid
    config: PhantomConfig


@dataclass(frozen=True, slots=True)
class _Row:
    person: Person
    volumes_ml: dict[str, float]
    findings: dict[str, float]


def _run(jobs: list[_Job], on: Grid, workers: int | None) -> Iterator[_Row]:
    """Rows in the order of the jobs, from this process or from several."""
    workers = workers or (os.cpu_count() or 1 if len(jobs) >= POOL_FROM else 1)
    if workers == 1:
        shared = anatomy(on)
        yield from (_make(job, shared) for job in jobs)
        return
    # "spawn", because forking a process in which torch has started threads can hang.
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (anatomy(on),)
    ) as pool:
        yield from pool.map(_make_in_worker, jobs, chunksize=4)


_shared: list[Anatomy] = []  # of a worker process; sent once instead of with every job


def _start_worker(shared: Anatomy) -> None:
    torch.set_num_threads(1)
    _shared.append(shared)


def _make_in_worker(job: _Job) -> _Row:
    return _make(job, _shared[0])


def _make(job: _Job, shared: Anatomy) -> _Row:
    hidden, scan, record = (np.random.default_rng(part) for part in job.entropy.spawn(3))
    person = sample_person(job.participant_id, hidden, job.config)
    voxels, volumes = phantom_scan(person, shared, job.grid, scan, job.config)
    name = f"{person.id}_T1w.nii.gz"
    write_volume(
        job.out / person.id / "anat" / name,
        voxels,
        job.grid,
        synthetic=True,
        description="MIRAGE phantom, no real person",
    )
    findings = sample_ehr(
        record,
        age_years=person.age_years,
        female=person.female,
        education_years=person.education_years,
        apoe4=person.apoe4,
        severity=person.severity,
    )
    return _Row(person, volumes, findings)


def _write_tables(out: Path, rows: list[_Row]) -> None:
    """The tables come last: a folder without participants.tsv was never finished."""
    truth: list[Mapping[str, object]] = [
        {
            "participant_id": row.person.id,
            "severity": round(row.person.severity, 4),
            "state": row.person.state,
            "label": row.person.label,
            **row.volumes_ml,
        }
        for row in rows
    ]
    records: list[Mapping[str, object]] = [
        {"patient": row.person.id, **row.findings} for row in rows
    ]
    people: list[Mapping[str, object]] = [
        {
            "participant_id": row.person.id,
            "age": row.person.age_years,
            "sex": "F" if row.person.female else "M",
            "diagnosis": "AD" if row.person.label else "CN",
        }
        for row in rows
    ]
    _write_table(out / "truth.tsv", truth, "\t")
    _write_table(out / "ehr.csv", records, ",", ["patient", *schema()])
    _write_table(out / "participants.tsv", people, "\t")


def _write_table(
    path: Path, rows: list[Mapping[str, object]], delimiter: str, columns: list[str] | None = None
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, columns or list(rows[0]), delimiter=delimiter, lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)

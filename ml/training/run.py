"""A training as it is asked for: a plan, a cohort, a folder that it can be resumed from.

`python -m ml train` and the web both come in here, so that the same plan on the same people gives
the same weights. The folder of a run holds:

    run.json          what the training follows from; another plan or other people are refused
    snapshot.json     hashes of the data
    checkpoints/      finished parts and the loop that is running (`ml.training.checkpoint`)
    examples/         pictures for whoever watches
    lock              held while a process trains here
"""

import hashlib
import json
import platform
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ml.bundle import settings_to_card
from ml.card import BundleCard, sha256_of
from ml.config import PROFILES, Profile, components_only
from ml.data.cohort import Cohort, CohortError
from ml.data.snapshot import Snapshot
from ml.training.checkpoint import (
    OTHER_FOLDER,
    CheckpointError,
    Checkpoints,
    full_disk_named,
    locked,
    write_whole,
)
from ml.training.course import SAVE_EVERY_S, Course, DeviceError
from ml.training.pipeline import train_cohort
from ml.training.ranks import Ranks
from ml.training.split import CohortCheck, check_cohort
from ml.training_plan import TrainingPlan, Watcher

MEANING = {
    "plan": "another plan",
    "settings": "other settings of the profile",
    "data": "other people or scans",
    "graph": "another knowledge graph",
    "torch": "another version of torch, which rounds otherwise",
    "device": "another kind of device, which rounds otherwise",
    "processes": "another number of processes",
}
"""What it means if an entry of run.json differs."""


def run_training(
    cohort_folder: Path,
    plan: TrainingPlan,
    run_folder: Path,
    out: Path,
    watcher: Watcher | None = None,
    *,
    command: str = "",
    text_cache: Path | None = None,
    knowledge_file: Path | None = None,
    exclude_persons: Collection[str] = (),
    save_every_s: float = SAVE_EVERY_S,
) -> BundleCard:
    """Train every stage of a plan, from where the run folder stands, and write the bundle.

    A training that was stopped or killed at any moment goes on from its last checkpoint if it is
    asked for again with the same plan and people, and ends with the weights that it would have had:
    bit for bit on a CPU, because random generators and the number of threads are restored.

    Args:
        cohort_folder: see `ml.data.cohort`.
        plan: what is trained.
        run_folder: see above; made if missing.
        out: folder of the bundle; its files are replaced.
        watcher: who is told, and may ask to stop.
        command: command line, for the card.
        text_cache: folder for text embeddings.
        knowledge_file: a graph other than the default.
        exclude_persons: people of the cohort who take no part at all, neither in training nor in
            the test; people of a holdout, who will judge the bundle.
        save_every_s: least seconds between two checkpoints of a loop.

    Raises:
        CohortError: the cohort cannot be trained on; said before anything expensive begins.
        CheckpointError: the run folder belongs to another training, or a file in it is damaged.
        StoppedError: the watcher asked to stop; it can be resumed.
        NotFiniteLossError: a loss became NaN or infinite.
        FullDiskError: no room for a checkpoint or the bundle.
        DeviceError: the device is not there, was lost, or has too little memory.
        ShareDoneError: this is a helper process of torchrun, and its part is done.
    """
    settings, device = settings_of(plan), device_of(plan)
    cohort = Cohort.load(cohort_folder).without(exclude_persons)
    check = check_cohort(cohort, settings, plan.seed)
    if check.problems:
        raise CohortError(" ".join(check.problems))
    ranks = Ranks.join(device)
    snapshot = Snapshot.of(cohort, check.split)
    follows_from = {
        "plan": asdict(plan) | {"name": "", "device": ""},
        "settings": settings_to_card(settings),
        "data": snapshot.sha256,
        "graph": sha256_of(knowledge_file) if knowledge_file else "default",
        "torch": f"{torch.__version__}, {torch.backends.cpu.get_cpu_capability()}",
        "device": device.type,
        "processes": ranks.world,
    }
    with full_disk_named(run_folder), _held(run_folder, ranks), _device_named():
        threads = _begin(run_folder, follows_from, snapshot, ranks)
        course = Course(
            watcher,
            Checkpoints(run_folder / "checkpoints", _key(follows_from)),
            device=device,
            ranks=ranks,
            examples=run_folder / "examples",
            save_every_s=save_every_s,
        )
        _say_begin(course, check, device, threads)
        return train_cohort(
            cohort,
            settings,
            plan.seed,
            out,
            course,
            label=plan.profile if plan.pictures else f"{plan.profile}, components only",
            command=command,
            name=plan.name,
            text_cache=text_cache,
            knowledge_file=knowledge_file,
            lineage={
                "data_sha256": snapshot.sha256,
                "split": check.split,
                "visits": check.visits,
                "scans": len(snapshot.scans),
                "left_out_persons": len(set(exclude_persons)),
                "software": follows_from["torch"],
                "python": platform.python_version(),
                "device": _name_of(device),
                "threads": threads,
                "processes": ranks.world,
            },
        )


def check_plan(
    cohort_folder: Path, plan: TrainingPlan, exclude_persons: Collection[str] = ()
) -> CohortCheck:
    """Count what a plan would train on, and look for what it would stumble over.

    Raises:
        CohortError: the folder is no cohort at all.
    """
    cohort = Cohort.load(cohort_folder).without(exclude_persons)
    return check_cohort(cohort, settings_of(plan), plan.seed)


def settings_of(plan: TrainingPlan) -> Profile:
    """The profile that a plan trains."""
    settings = PROFILES[plan.profile]
    return settings if plan.pictures else components_only(settings)


def device_of(plan: TrainingPlan) -> torch.device:
    """Where networks are trained.

    Raises:
        DeviceError: a GPU is asked for, and there is none.
    """
    there = torch.cuda.is_available()
    if plan.device == "cuda" and not there:
        raise DeviceError(
            "The plan asks for a GPU (device cuda), and torch sees none here. Choose the device "
            "cpu or auto, or run it where a GPU and its driver are."
        )
    if plan.device == "cpu" or not there:
        return torch.device("cpu")
    here = torch.device("cuda", Ranks.place())
    torch.cuda.set_device(here)
    return here


def _begin(folder: Path, follows_from: Mapping[str, Any], snapshot: Snapshot, ranks: Ranks) -> int:
    """Compare with what the folder was begun with, and give back the number of threads.

    The number is that of the first start: another one adds in another order, and gives other bits.
    """
    path = folder / "run.json"
    if not path.exists():
        threads = torch.get_num_threads()
        if ranks.first:
            (folder / "snapshot.json").write_text(snapshot.to_json(), encoding="utf-8")
            write_whole(path, json.dumps({**follows_from, "threads": threads}, indent=2).encode())
        return threads
    try:
        begun = json.loads(path.read_bytes())
        threads = int(begun.pop("threads"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path.name} in {folder.name} is damaged, so nobody knows what was trained there. "
            f"{OTHER_FOLDER}"
        ) from error
    now = json.loads(json.dumps(follows_from))
    different = [words for name, words in MEANING.items() if begun.get(name) != now[name]]
    if different:
        raise CheckpointError(
            f"The run folder {folder.name} was begun with {' and '.join(different)}. To go on "
            f"there, take what it was begun with. {OTHER_FOLDER}"
        )
    torch.set_num_threads(threads)
    return threads


def _key(follows_from: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(follows_from, sort_keys=True).encode()).hexdigest()


def _say_begin(course: Course, check: CohortCheck, device: torch.device, threads: int) -> None:
    course.tell(
        "log",
        text=f"{check.train} people train and {check.test} test, {check.with_scan} of "
        f"{check.visits} have a scan. Device: {_name_of(device)}, {threads} threads.",
    )
    for warning in check.warnings:
        course.tell("log", text=warning)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextmanager
def _held(folder: Path, ranks: Ranks) -> Iterator[None]:
    """The folder is held by the first process; its helpers only read in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not ranks.first:
        yield
        return
    with locked(folder):
        yield


@contextmanager
def _device_named() -> Iterator[None]:
    """Turn what a GPU's driver says into one error with a way out."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            "The GPU's memory is too small for a batch. Raise `accumulate` of the profile in "
            "ml/config.py, or take a coarser profile; what was saved is kept."
        ) from error
    except RuntimeError as error:
        if "CUDA" not in str(error) and "NCCL" not in str(error):
            raise
        raise DeviceError(
            f"The GPU was lost during the training ({type(error).__name__}). What was saved is "
            "kept: see that the device is there again, and resume."
        ) from error

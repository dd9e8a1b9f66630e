"""A real bundle, as small as one can be: trained on phantoms once for each state of ml/."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

CACHE = ROOT / "var" / "test-bundles"
PATIENTS = 40
MAKE = """
import sys
from pathlib import Path
import torch
from ml.data.phantom import make_phantom_cohort
from ml.training.run import run_training
from ml.training_plan import TrainingPlan
from ml.user_cache import USER_CACHE
torch.set_num_threads(1)
cohort, bundle = Path(sys.argv[1]), Path(sys.argv[2])
make_phantom_cohort(cohort, patients=int(sys.argv[3]), spacing_mm=8, seed=1)
plan = TrainingPlan(profile="tiny", seed=1)
run_training(cohort, plan, cohort.parent / "run", bundle, text_cache=USER_CACHE)
"""


def tiny_bundle(copy: Path) -> Path:
    """Copy the bundle to a folder; it is made first, within a minute, if ml/ has changed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / _state_of_ml()
    with (CACHE / "lock").open("w") as lock:  # one test process makes it, all others wait for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _make(folder)
        shutil.copytree(folder, copy)
    return copy


def _make(folder: Path) -> None:
    draft = CACHE / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MAKE, draft / "cohort", draft / "bundle", str(PATIENTS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for old in CACHE.iterdir():
        if old.is_dir() and old != draft:
            shutil.rmtree(old)
    (draft / "bundle").rename(folder)
    shutil.rmtree(draft)


def _state_of_ml() -> str:
    digest = hashlib.sha256(MAKE.encode())
    for path in sorted((ROOT / "ml").rglob("*")):
        if path.suffix in {".py", ".toml"}:
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]

"""States of a training are whole or not there, and nothing is read that was not written so."""

import hashlib
import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from ml.progress import Terminal
from ml.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    FullDiskError,
    _seal,
    locked,
)
from ml.training.course import Course, NotFiniteLossError, StoppedError
from ml.training_plan import Event
from tests.ml.training_case import Onlooker

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "shared": torch.ones(2)}


@pytest.fixture
def saved(tmp_path):
    states = Checkpoints(tmp_path, "key")
    states.write("graph-0", WEIGHTS, {"step": 3, "loss": 0.1 + 0.2})
    return states


def tensors_file(folder):
    (file,) = folder.glob("*.safetensors")
    return file


def test_a_state_comes_back_as_it_was_written(saved):
    state = saved.read("graph-0")
    assert all(torch.equal(state.tensors[name], each) for name, each in WEIGHTS.items())
    assert state.entries == {"step": 3, "loss": 0.1 + 0.2}
    assert saved.read("graph-1") is None
    saved.remove("graph-0")
    assert saved.read("graph-0") is None
    assert not list(saved.folder.iterdir())


def test_a_newer_state_replaces_the_one_before_and_no_other(saved):
    saved.write("graph-0-loop", WEIGHTS, {})
    saved.write("graph-0", {"weight": torch.zeros(1)}, {"step": 4})
    assert saved.read("graph-0").entries == {"step": 4}
    assert saved.read("graph-0-loop") is not None
    assert len(list(saved.folder.glob("*.safetensors"))) == 2


def test_a_process_killed_while_it_saves_leaves_the_state_before(saved):
    """The tensors of the new state are there already, its JSON is not."""
    (saved.folder / "graph-0-0123456789abcdef.safetensors").write_bytes(b"half of it")
    (saved.folder / "graph-0.json.part").write_text('{"key": "k')
    assert saved.read("graph-0").entries["step"] == 3


@pytest.mark.parametrize("size", [0, 7, 40, -1])
def test_tensors_that_were_cut_are_refused(saved, size):
    file = tensors_file(saved.folder)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"has SHA-256 .* It was damaged|damaged or cut"):
        saved.read("graph-0")


def test_one_changed_bit_is_seen_in_either_file(saved):
    for file in (tensors_file(saved.folder), saved.folder / "graph-0.json"):
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        file.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError, match="damaged or cut"):
            saved.read("graph-0")
        file.write_bytes(whole)
    assert saved.read("graph-0") is not None


def test_a_pickle_is_never_loaded_even_with_the_right_hashes(saved, tmp_path):
    """Whoever can write the folder can make all hashes fit; the format itself cannot run code."""
    ran = tmp_path / "ran"
    content = f"cos\nmkdir\n(V{ran}\ntR.".encode()  # what unpickling would do: os.mkdir(ran)
    tensors_file(saved.folder).write_bytes(content)
    card = json.loads((saved.folder / "graph-0.json").read_text())
    del card["seal"]
    card["sha256"] = hashlib.sha256(content).hexdigest()
    (saved.folder / "graph-0.json").write_text(json.dumps(card | {"seal": _seal(card)}))
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        saved.read("graph-0")
    assert not ran.exists()


def test_a_state_of_another_training_is_refused(saved):
    with pytest.raises(CheckpointError, match="belongs to another training"):
        Checkpoints(saved.folder, "another key").read("graph-0")


def test_a_full_disk_is_named_and_the_state_before_is_kept(saved):
    """Writing ends on the device that is always full."""
    (saved.folder / "graph-0.json.part").symlink_to("/dev/full")
    with pytest.raises(FullDiskError, match=r"is full \(\d+ MB are free\). What was saved before"):
        saved.write("graph-0", {"weight": torch.zeros(4)}, {"step": 4})
    assert saved.read("graph-0").entries["step"] == 3


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(CheckpointError, match="Another process is training"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


class Line(torch.nn.Module):
    """One weight that a loop moves."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, 1, 1, 1, 1))
        self.same = self.weight  # as parts of an encoder share theirs


def moved(course, steps=6, spoil=None):
    """A loop of noisy steps; `spoil` is the step at which the loss is NaN."""
    torch.manual_seed(0)
    line = Line()
    optimiser = torch.optim.AdamW(line.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=steps)
    order = torch.Generator().manual_seed(1)
    course.stage("readers")
    loop = course.part(1, 3).loop(steps, {"line": line}, optimiser, schedule, order)
    for step in loop.steps():
        loop.notes.setdefault("drawn", []).append(float(torch.rand((), generator=order)))
        loss = (line.weight - torch.randn(()) - loop.notes["drawn"][-1]).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        loss = float("nan") if step == spoil else float(loss.detach())
        loop.done(step, {"loss": loss}, [4, 2])
    return float(line.weight.detach()), loop.notes


@pytest.mark.parametrize("at", range(1, 6))
def test_a_loop_goes_on_from_any_step_as_if_nothing_had_been(tmp_path, at):
    """Weights, moments, schedule, both generators and notes; the step in the middle of three."""
    stopping = Onlooker(lambda event: event.kind == "step" and event.step == 6 + at)
    with pytest.raises(StoppedError, match="during the stage readers"):
        moved(Course(stopping, Checkpoints(tmp_path, "key")))
    torch.manual_seed(99)
    resumed = Onlooker()
    assert moved(Course(resumed, Checkpoints(tmp_path, "key"))) == moved(Course())
    steps = [event.step for event in resumed.events if event.kind == "step"]
    assert steps == list(range(7 + at, 13))
    assert all(event.steps == 18 for event in resumed.events if event.kind == "step")


def test_a_loss_that_is_no_number_stops_the_training_and_spoils_no_checkpoint(tmp_path):
    states = Checkpoints(tmp_path, "key")
    with pytest.raises(
        NotFiniteLossError, match=r"readers-1, step 4 of 6: the loss `loss` is nan.*scans 2, 4 of"
    ):
        moved(Course(None, states, save_every_s=0.0), spoil=3)
    kept = states.read("readers-1-loop")
    assert kept.entries["done"] == 3
    assert all(bool(each.isfinite().all()) for each in kept.tensors.values())


def test_a_weight_that_is_no_number_is_not_saved(tmp_path):
    course = Course(None, Checkpoints(tmp_path, "key"), save_every_s=0.0)
    line = Line()
    loop = course.part(name="graph").loop(3, {"line": line}, torch.optim.AdamW(line.parameters()))
    with torch.no_grad():
        line.weight.fill_(torch.inf)
    with pytest.raises(NotFiniteLossError, match="a weight is NaN or infinite"):
        loop.done(0, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_saving_takes_no_more_than_a_fiftieth_of_the_time(tmp_path):
    """However dear a state is to write, the next one waits fifty times as long."""

    class Slow(Checkpoints):
        def write(self, *entries):
            time.sleep(0.05)
            super().write(*entries)

    course = Course(None, Slow(tmp_path, "key"), save_every_s=0.001)
    course.write("graph", WEIGHTS, {})
    assert course._pause_s >= 2.5
    assert not course.due()


@pytest.fixture
def _as_on_a_terminal():
    """Processes that a shell starts in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_as_on_a_terminal")
def test_ctrl_c_asks_a_training_to_stop_and_a_second_one_ends_it(capsys):
    terminal = Terminal()
    with terminal, terminal.listening():
        terminal.tell(Event(kind="step", stage="graph", step=1, steps=2, values={"loss": 0.5}))
        assert not terminal.stop_asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert terminal.stop_asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert "what there is will be saved" in capsys.readouterr().err


def test_a_saved_state_is_plain_safetensors(saved):
    assert set(load_file(tensors_file(saved.folder))) == set(WEIGHTS)

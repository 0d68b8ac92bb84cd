import shlex
from pathlib import Path

import pytest

from evaluate.published.rows import Setting
from pipeline.config import load_config
from pipeline.graph import fingerprints
from pipeline.reports.training_time import training_time, twin_commands, vanilla
from pipeline.run_folder import RunFolder
from pipeline.stages import STAGES
from pipeline.store.ledger import Attempt
from pipeline.store.store import Store

CONFIG = """
goal: classifier
data: {kind: digits}
scorer: {model: resnet8, epochs: 10, label_smoothing: 0.1, drop_block: 0.2, drop_block_size: 5}
"""
VANILLA = [
    "scorer.mixing={kind: none}",
    "scorer.label_smoothing=0",
    *("scorer.drop_block=0", "scorer.drop_block_size=7"),
]


@pytest.fixture
def laboratory(tmp_path):
    return Laboratory(tmp_path)


class Laboratory:
    """A store whose ledger says what trainings took."""

    def __init__(self, root):
        self.path = root / "mixed.yaml"
        self.path.write_text(CONFIG)
        self.store = Store(root)

    def trained(self, seconds, *overrides, device="a device", outcome="done"):
        config = load_config(self.path, overrides)
        key = fingerprints(STAGES, config, {"data": "hash"})["scorer"]
        started = f"2026-01-{len(self.store.ledger.attempts()) + 1:02}"
        attempt = Attempt("scorer", key, "twin", started, seconds, device, "cpu", 1, outcome)
        self.store.ledger.append(attempt)

    def time(self, *overrides):
        return training_time(load_config(self.path, overrides), "hash", self.store)


def test_the_ratio_is_of_seconds_per_epoch_over_all_attempts(laboratory):
    laboratory.trained(18, outcome="interrupted")
    laboratory.trained(12)
    laboratory.trained(20, *VANILLA)
    time = laboratory.time()
    assert (time.seconds_per_epoch, time.relative_to_vanilla) == (3.0, 1.5)
    assert time.basis == "3 s per epoch, 2 s for its vanilla twin (twin) on the same device"
    assert not time.unmeasured


def test_a_training_that_was_forced_again_counts_once(laboratory):
    for _ in range(2):
        laboratory.trained(30)
    laboratory.trained(20, *VANILLA)
    assert laboratory.time().relative_to_vanilla == 1.5


def test_vanilla_is_its_own_measure(laboratory):
    laboratory.trained(20, *VANILLA)
    assert laboratory.time(*VANILLA).relative_to_vanilla == 1.0


@pytest.mark.parametrize("override", ["seed=1", "scorer.epochs=5", "scorer.model=resnet20"])
def test_a_vanilla_training_of_other_settings_is_no_twin(laboratory, override):
    laboratory.trained(30)
    laboratory.trained(20, *VANILLA, override)
    time = laboratory.time()
    assert time.relative_to_vanilla is None
    assert time.unmeasured


def test_an_unfinished_twin_measures_nothing(laboratory):
    laboratory.trained(30)
    laboratory.trained(20, *VANILLA, outcome="interrupted")
    assert laboratory.time().unmeasured


def test_two_devices_are_not_compared(laboratory):
    laboratory.trained(30)
    laboratory.trained(20, *VANILLA, device="another")
    time = laboratory.time()
    assert time.relative_to_vanilla is None
    assert time.basis == "not comparable: trained on a device, its vanilla twin twin on another"


def test_a_training_that_moved_between_devices_has_no_time(laboratory):
    laboratory.trained(18, outcome="interrupted", device="another")
    laboratory.trained(12)
    assert laboratory.time().seconds_per_epoch is None


def test_a_network_finds_the_twin_of_its_scorer_too(laboratory):
    laboratory.trained(30)
    laboratory.trained(20, *VANILLA)
    network = ["goal=network", "subset.measure=random"]
    assert laboratory.time(*network).relative_to_vanilla == 1.5


def test_the_commands_train_that_very_twin(laboratory):
    config = load_config(laboratory.path)
    folder = RunFolder(Path("some runs") / "mixed")
    train, report = twin_commands(folder, config, laboratory.store, on_cpu=True)
    words = shlex.split(train)
    assert words[:4] == ["python", "run_pipeline.py", "run", "some runs/mixed/config.yaml"]
    overrides = [words[n + 1] for n, word in enumerate(words) if word == "--set"]
    twin = load_config(laboratory.path, overrides)
    assert Setting.of(twin.scorer).is_vanilla
    content = {"data": "hash"}
    expected = config.model_copy(update={"scorer": vanilla(config.scorer)})
    assert fingerprints(STAGES, twin, content) == fingerprints(STAGES, expected, content)
    options = ["--name", "mixed-vanilla", "--device", "cpu"]
    assert words[-8:] == [
        *options, "--artifacts", str(laboratory.store.root), "--runs", "some runs",
    ]  # fmt: skip
    assert shlex.split(report)[2:] == ["report", "mixed", "--runs", "some runs"]


def test_usual_places_are_not_named(laboratory):
    config = load_config(laboratory.path, [], name="x" * 100)
    store = Store(Path("artifacts"))
    train, report = twin_commands(RunFolder(Path("runs/x")), config, store, on_cpu=False)
    assert train.endswith(f"--name {'x' * 92}-vanilla --device cuda")
    assert report == "python run_pipeline.py report x"

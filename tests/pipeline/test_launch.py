"""Several processes on one run, as torchrun starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from pipeline.config import load_config
from pipeline.launch import check_shares

ROOT = Path(__file__).parents[2]
COMMAND = str(ROOT / "run_pipeline.py")
CONFIG = """
name: shared
data: {kind: digits, images_per_class: 16}
scorer: {model: resnet8, epochs: 1, batch_size: 32, learning_rate: 0.1, milestones: []}
scores: {draws: 4}
subset: {measure: mean_low, fraction: 0.5}
search: {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 20}
retrain: {channels: 4, cells: 3, epochs: 1, batch_size: 40, drop_path: 0, learning_rate: 0.01}
"""


def environment(**names):
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | names


def torchrun(folder, *arguments, processes=2, restarts=0):
    """The documented command, started in `folder`."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={processes}", f"--max-restarts={restarts}"),
            *(COMMAND, "run", "config.yaml", "--device", "cpu", *arguments),
        ],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def by_hand(folder, *arguments):
    """Processes joined without torchrun, each with arguments of its own: (status, stderr) each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    joined = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(len(arguments))}
    started = [
        subprocess.Popen(
            [sys.executable, COMMAND, *own],
            cwd=folder,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **joined),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, own in enumerate(arguments)
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    return [process.returncode for process in started], [error for error in errors if error]


def write_config(folder, text=CONFIG):
    (folder / "config.yaml").write_text(text)
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def made(folder, stage):
    (artifact,) = (path for path in (folder / "artifacts" / stage).iterdir() if path.is_dir())
    return artifact


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by one process and by two."""
    alone, shared = (tmp_path_factory.mktemp(name) for name in ("alone", "shared"))
    subprocess.run(
        [sys.executable, COMMAND, "run", "config.yaml", "--device", "cpu"],
        cwd=write_config(alone),
        env=environment(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    process = torchrun(write_config(shared))
    output = process.communicate(timeout=150)[0]
    assert process.returncode == 0, output
    return alone, shared, output


@pytest.mark.parametrize(
    ("stage", "name"), [("scorer", "scorer.safetensors"), ("retrain", "network.safetensors")]
)
def test_two_processes_make_the_weights_of_one(runs, stage, name):
    one, two = (load_file(made(folder, stage) / name) for folder in runs[:2])
    for key, value in one.items():
        assert np.allclose(value.numpy(), two[key].numpy(), rtol=1e-4, atol=1e-4), key


def test_two_processes_make_the_same_subset_and_genotype(runs):
    for stage, name in (("subset", "subset.json"), ("search", "genotype.json")):
        one, two = (json.loads((made(folder, stage) / name).read_text()) for folder in runs[:2])
        one, two = ({k: v for k, v in each.items() if k != "scorer"} for each in (one, two))
        assert one == two


def test_the_losses_of_a_search_are_those_of_all_its_images(runs):
    rows = [lines(made(folder, "search") / "metrics.jsonl") for folder in runs[:2]]
    for one, two in zip(*rows, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
        assert np.allclose(one["alphas"]["normal"], two["alphas"]["normal"], atol=1e-5)
    assert rows[0][1]["architecture_loss"] == pytest.approx(
        rows[1][1]["architecture_loss"], rel=1e-4
    )


def test_every_process_counts_in_the_cost(runs):
    attempts = lines(runs[1] / "artifacts" / "ledger.jsonl")
    assert {attempt["devices"] for attempt in attempts} == {2}


def test_one_process_speaks_for_all(runs):
    said = runs[2].splitlines()
    assert sum(line.startswith("run shared on 2 × ") for line in said) == 1
    assert sum(line.startswith("retrain  done") for line in said) == 1
    assert (runs[1] / "runs" / "shared" / "report" / "report.md").exists()


def test_what_is_made_by_one_is_reused_by_several(runs):
    process = torchrun(runs[0])
    output = process.communicate(timeout=150)[0]
    assert process.returncode == 0, output
    assert output.count(" reused ") == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [["run", "config.yaml"], ["run", "config.yaml", "--set", "scorer.epochs=3"]],
            "scorer.epochs: found 1 in process 0 and 3 in process 1",
        ),
        pytest.param(
            [["run", "config.yaml", "--set", "scorer.batch_size=31"]] * 2,
            "scorer.batch_size",
            marks=pytest.mark.long,
        ),
        pytest.param([["run", "absent.yaml"]] * 2, "absent.yaml", marks=pytest.mark.long),
        ([["sweep", "study.yaml"]] * 2, "torchrun: found 'sweep' in 2 processes"),
    ],
)
def test_a_mistake_is_told_once_before_anything_starts(tmp_path, arguments, message):
    statuses, errors = by_hand(write_config(tmp_path), *arguments)
    assert statuses == [2, 2]
    (error,) = errors
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retrain.batch_size", 41),
        ("search.batch_size", 21),
        ("probe.batch_size", 33),
        ("scorer.mixing", "{kind: manifold_mixup}"),
        ("scorer.record_losses", "true"),
        ("scorer.record_dynamics", "true"),
    ],
)
def test_what_cannot_be_shared_names_its_key(tmp_path, key, value):
    from classification.errors import ConfigError
    from classification.world import ALONE, World

    path = write_config(tmp_path) / "config.yaml"
    config = load_config(path, [f"{key}={value}"])
    stages = {"scorer", "scores", "subset", "search", "retrain", "probe"}
    check_shares(config, stages, ALONE)
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        check_shares(config, stages, World(0, 2))


@pytest.mark.long
def test_a_killed_process_costs_an_epoch_at_most(tmp_path):
    """torchrun starts all again; they end as those that nobody killed."""
    settings = ["--until", "scorer", "--set", "scorer.epochs=6"]
    folders = [tmp_path / name for name in ("straight", "killed")]
    for folder in folders:
        folder.mkdir()
        write_config(folder)
    straight = torchrun(folders[0], *settings)
    output = straight.communicate(timeout=150)[0]
    assert straight.returncode == 0, output
    killed = torchrun(folders[1], *settings, restarts=2)
    victim = _worker_when(killed, folders[1], "scorer/.work-*/checkpoint-000002*")
    os.kill(victim, signal.SIGKILL)
    output = killed.communicate(timeout=150)[0]
    assert killed.returncode == 0, output
    one, two = (made(folder, "scorer") for folder in folders)
    for name in ("scorer.safetensors", "metrics.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    attempts = lines(folders[1] / "artifacts" / "ledger.jsonl")
    assert len(attempts) == 2
    assert attempts[0]["outcome"] in ("failed", "interrupted", "killed")
    assert attempts[1]["outcome"] == "done"


def _worker_when(launcher, folder, pattern):
    """The second process's number, once `pattern` is there."""
    while not list((folder / "artifacts").glob(pattern)):
        assert launcher.poll() is None
        time.sleep(0.02)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"\0RANK=1\0" in b"\0" + (entry / "environ").read_bytes() and str(folder) == str(
                    (entry / "cwd").readlink()
                ):
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError("no second process")

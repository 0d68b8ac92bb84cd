"""Sweeps on a Ray cluster: what a node, a process and a stop cost, and which address is refused."""

import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter, namedtuple
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from classification import extras
from classification.errors import ConfigError, DeviceError, InterruptedRunError
from pipeline.commands.sweep import sweep as run_sweep
from pipeline.console import Console
from pipeline.store.ledger import Ledger
from pipeline.studies import ray_cluster
from pipeline.studies.ray_cluster import Share, check_ray, connected, share_of
from pipeline.studies.study import load_study
from pipeline.studies.sweep import plan
from run_pipeline import main

pytest.importorskip("ray", reason="the distributed extra is not installed")
# Ray's head leaves the log files open that it hands to the process for its clients.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*/ray_client_server:pytest.PytestUnraisableExceptionWarning"
)

EPOCHS = 40
BASE = f"""\
data: {{kind: digits, classes: 3, images_per_class: 20}}
scorer:
  {{model: resnet8, epochs: {EPOCHS}, batch_size: 5, learning_rate: 0.1, schedule: one_cycle}}
scores: {{draws: 4}}
probe: {{model: resnet8, epochs: 2, batch_size: 6, learning_rate: 0.1, schedule: one_cycle}}
"""
STUDY = """\
name: digits
base: base.yaml
seeds: 2
set: {goal: subset}
x: subset.fraction
grid: {subset.fraction: [0.4]}
reference: random
series:
  - {name: high CV, set: {subset.measure: cv}}
  - {name: random, set: {subset.measure: random}}
"""
Process = namedtuple("Process", ["pid", "node"])
STAGES = {"scorer": 2, "scores": 2, "subset": 4, "probe": 4}
MEMORY = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """A head that makes nothing, and two nodes with room for one stage each."""
    from ray.cluster_utils import Cluster

    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY}
    head["ray_client_server_port"] = port
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.client_address = f"ray://127.0.0.1:{port}"
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(BASE)
    Path("study.yaml").write_text(STUDY)
    return Path("study.yaml")


def sweep(study, address, overrides=()):
    store, runs = Path("artifacts"), Path("runs")
    return run_sweep(study, ray=address, set_=overrides, device="cpu", artifacts=store, runs=runs)


def raylet(node):
    return node.all_processes["raylet"][0].process.pid


def attempts(outcome="done"):
    found = Ledger(Path("artifacts/ledger.jsonl")).attempts()
    return Counter(attempt.stage for attempt in found if attempt.outcome == outcome)


def once_begun(number, act):
    """In a thread: `act` on the processes of scorers with a checkpoint, when so many have one."""
    root = Path("artifacts").absolute()

    def watch():
        begun = set()
        while len(begun) < number:
            time.sleep(0.02)
            with suppress(OSError):  # a folder that was published in between
                begun = {path.parent.name for path in root.glob("scorer/.work-*/checkpoint-*")}
        listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True)
        rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
        titles = {f"ray::scorer {name.removeprefix('.work-')}" for name in begun}
        act([Process(int(pid), int(node)) for pid, node, title in rows if title in titles])

    threading.Thread(target=watch, daemon=True).start()


def test_a_task_runs_on_the_device_and_with_the_threads_that_it_is_told(study, cluster):
    """Ray gives a worker the threads of its first task's CPUs (here one) and shows a task without
    GPUs those of the driver, so that neither can be left to it."""
    from pipeline.studies.ray_workers import RayWorkers

    loaded = load_study(study, [], 2)
    tasks = plan(loaded, torch.device("cpu"), Path("artifacts"), Console(io.StringIO()))
    subsets = [task for task in tasks.ready() if task.stage == "subset"]
    console, artifacts = Console(io.StringIO()), Path("artifacts")
    told = [("cpu", 3), ("cuda:0", 2)]
    with connected(cluster.address, 1):
        made = [
            RayWorkers(1, Share(1, 0, threads), device, artifacts, console)
            for device, threads in told
        ]
        for workers, task in zip(made, subsets, strict=True):
            workers.begin(task)
        (_, on_cpu), (_, on_gpu) = (workers.next() for workers in made)
    found = {a.fingerprint: a for a in Ledger(artifacts / "ledger.jsonl").attempts()}
    attempt = found[subsets[0].fingerprint]
    assert on_cpu is None
    assert (attempt.device_kind, attempt.threads) == ("cpu", 3)
    if torch.cuda.is_available():
        assert found[subsets[1].fingerprint].device_kind == "gpu"
    else:
        assert on_gpu is not None
        assert "CUDA" in on_gpu or "NVIDIA" in on_gpu


def test_a_process_that_dies_takes_its_own_task_alone(study, cluster):
    from pipeline.studies.ray_workers import RayWorkers

    loaded = load_study(study, ["scorer.epochs=100000"], 1)
    tasks = plan(loaded, torch.device("cpu"), Path("artifacts"), Console(io.StringIO()))
    endless = next(task for task in tasks.ready() if task.stage == "scorer")
    quick = next(task for task in tasks.ready() if task.stage == "subset")
    with connected(cluster.address, 1):
        console = Console(io.StringIO())
        workers = RayWorkers(1, Share(1, 0, 1), "cpu", Path("artifacts"), console)
        workers.begin(endless)
        once_begun(1, lambda found: os.kill(found[0].pid, signal.SIGKILL))
        assert workers.next() == (endless, "its process died")
        workers.begin(quick)
        assert workers.next() == (quick, None)
        assert not workers.busy


@pytest.mark.long
def test_a_stopped_sweep_has_written_down_what_it_has(study, cluster):
    handler = signal.getsignal(signal.SIGTERM)
    once_begun(2, lambda found: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(InterruptedRunError, match=r"trials 0/4"):
        sweep(study, cluster.address, ["scorer.epochs=100000"])
    assert attempts("interrupted") == {"scorer": 2}
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.long
def test_a_node_that_dies_costs_nothing_that_was_made(study, cluster, capsys):
    def remove(found):
        (node,) = (n for n in cluster.worker_nodes if raylet(n) == found[0].node)
        cluster.remove_node(node, allow_graceful=False)

    once_begun(1, remove)
    assert sweep(study, cluster.address) == 0
    assert "scorer   its node died; restarting (1 of 3)" in capsys.readouterr().out
    assert attempts() == STAGES
    assert attempts("killed") == {"scorer": 1}
    for metrics in Path("artifacts/scorer").glob("*/metrics.jsonl"):
        epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
        assert epochs == list(range(1, EPOCHS + 1))


@pytest.mark.long
def test_a_machine_outside_the_cluster_sweeps_as_its_client(study, cluster):
    assert sweep(study, cluster.client_address, ["scorer.epochs=2"]) == 0
    assert attempts() == STAGES


@pytest.mark.long
def test_a_node_without_the_folder_says_so_in_one_line(study, cluster, monkeypatch, capsys):
    from pipeline.studies import ray_workers

    monkeypatch.setattr(ray_workers, "Path", SimpleNamespace(cwd=lambda: "/not/shared"))
    assert sweep(study, cluster.address) == 1
    captured = capsys.readouterr()
    failed = [line for line in captured.out.splitlines() if line.startswith("failed")]
    assert len(failed) == 4
    assert all("FileNotFoundError: [Errno 2] No such file or" in line for line in failed)
    assert captured.err == ""


@pytest.mark.parametrize("address", ["nowhere", "host:port", "ray://", "127.0.0.1:123456"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match=rf"--ray: found '{address}'; allowed: HOST:PORT, ray"):
        check_ray("--ray", address)


def test_an_address_that_does_not_answer_is_refused_in_one_line(study, capsys):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert main(["sweep", str(study), "--ray", address, "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: --ray: nothing answers at '{address}' (")
    assert captured.err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_port_that_is_not_rays_is_refused(monkeypatch):
    monkeypatch.setattr(ray_cluster, "_JOIN_SECONDS", 1.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ConfigError, match="no Ray cluster answers"):
            check_ray("--ray", address)


@pytest.mark.parametrize("options", [["--jobs", "2"], ["--ray", "auto"]])
def test_without_ray_the_command_that_installs_it_is_named(study, monkeypatch, capsys, options):
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "ray")
    assert main(["sweep", str(study), *options, "--device", "cpu"]) == 2
    assert f"{options[0]}: needs ray, which is not installed" in capsys.readouterr().err


def node(cpus, gpus=0, alive=True):
    return {"Alive": alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}}


@pytest.mark.parametrize(
    ("nodes", "on_gpu", "threads", "share", "rooms"),
    [
        ([node(16), node(4)], False, 8, Share(8, 0, 8), 2),
        ([node(2), node(4)], False, 8, Share(4, 0, 4), 1),
        ([node(2), node(4), node(64, alive=False)], False, 8, Share(4, 0, 4), 1),
        ([node(64, 8), node(96)], True, 32, Share(8, 1, 8), 8),
        ([node(64, 8), node(4, 2)], True, 4, Share(4, 1, 4), 9),
    ],
)
def test_a_stage_takes_no_more_than_a_node_has(nodes, on_gpu, threads, share, rooms):
    assert share_of(nodes, on_gpu, threads) == share
    assert share.rooms(nodes) == rooms


def test_a_cluster_without_gpus_is_refused_at_once():
    with pytest.raises(DeviceError, match="--device: found 'cuda', but no node of the Ray cluster"):
        share_of([node(64), node(8, 8, alive=False)], True, 8)

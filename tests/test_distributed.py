"""Two processes over gloo against one: the same losses, weights and statistics."""

import json
import socket
from unittest import mock

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

from classification.classifier import build_scorer, train_classifier
from classification.config import ClassifierConfig
from classification.data.datasets import DataConfig, load_dataset
from classification.data.loaders import ImageSet
from classification.distributed import SyncedBatchNorm2d, synced_batch_norm, synchronize
from classification.errors import ConfigError, SharedError
from classification.persistence.workspace import METRICS, Workspace
from classification.world import ALONE, World
from evaluate import retrain
from evaluate.contest import hold_out
from evaluate.contest_config import ContestConfig
from pcdarts.pruning_config import PRUNING
from pcdarts.published_genotypes import GENOTYPES
from pcdarts.search import halve, halves, search
from pcdarts.search_config import SearchConfig
from subsample import uncertainty
from subsample.config import ScoresConfig

CPU = torch.device("cpu")
DATA = DataConfig(kind="digits", images_per_class=15)
CONFIG = ClassifierConfig(
    model="resnet8", epochs=1, batch_size=32, learning_rate=0.1, milestones=(), mixing={"prob": 0.5}
)


WEIGHTED = CONFIG.model_copy(update={"class_weights": "inverse", "label_smoothing": 0.1})
UNEQUAL = [*range(90), *range(100, 113)]


class StopError(Exception):
    pass


def start(function, tmp_path, size=2):
    """`function(world, tmp_path)` in `size` processes joined by gloo; raises what they raise."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_join, (function, tmp_path, port, size), nprocs=size)


def _join(rank, function, tmp_path, port, size):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
    )
    try:
        function(World(rank, size), tmp_path)
    finally:
        torch.distributed.destroy_process_group()


def workspace(tmp_path, world):
    return Workspace(tmp_path / f"{world.size}-{world.rank}", world=world)


def train(world, tmp_path, config=CONFIG, rows=range(150)):
    place = workspace(tmp_path, world)
    data = load_dataset(DATA).with_train(rows)
    model = train_classifier(data, config, seed=3, device=CPU, workspace=place)
    torch.save(model.state_dict(), place.path("state.pt"))


def score(world, tmp_path):
    """The losses of all images by one scorer, in blocks small enough for several turns."""
    place = Workspace(tmp_path / f"scores-{world.size}-{world.rank}", world=world)
    data = load_dataset(DATA)
    model = build_scorer(CONFIG.model, data.num_classes, seed=0)
    settings = (data.normalization, ScoresConfig(draws=4, batch_size=64), 5, place)
    with mock.patch.object(uncertainty, "_BLOCK", 64):
        measured = uncertainty.measure_losses(
            model, data.train.images, data.train.labels, data.num_classes, *settings
        )
    assert len(measured) == (150 if world.is_first else 0)


def search_in(folder, world, stop_at=None):
    """Two epochs of three steps, the first of which is the warm-up; stopped at step `stop_at`."""
    steps = []

    def progress(done, total, unit, **metrics):
        steps.append(unit)
        if steps.count("step") == stop_at:
            raise StopError

    data = load_dataset(DATA)
    config = SearchConfig(
        **{"epochs": 2, "warmup_epochs": 1, "channels": 4, "cells": 3},
        **{"batch_size": 32, "checkpoint_steps": 2},
    )
    place = Workspace(folder / f"{world.rank}", progress, world=world)
    parts = halve(data.train, 0)
    search(parts, data.num_classes, data.augmentation(), config, 0, place, CPU)


def stop_and_resume(world, tmp_path):
    search_in(tmp_path / "straight", world)
    for stop_at in (3, 4):  # after two steps of the warm-up, then after two of the second epoch
        with pytest.raises(StopError):
            search_in(tmp_path / "stopped", world, stop_at)
    search_in(tmp_path / "stopped", world)


def prune_in(folder, world):
    """A search on a quarter of its images for two epochs, then on half of them."""
    data = load_dataset(DATA)
    config = SearchConfig(
        **{"epochs": 3, "warmup_epochs": 1, "channels": 4, "cells": 3, "batch_size": 32},
        pruning={
            **{"after_epochs": 2, "rounds": 1, "final_fraction": 0.5},
            "warmup_fraction": 0.25,
        },
    )
    place = Workspace(folder / f"pruned-{world.size}-{world.rank}", world=world)
    parts = halves(data.train.labels, 0)
    images = tuple(data.train.take(part) for part in parts)
    search(images, data.num_classes, data.augmentation(), config, 0, place, CPU, indices=parts)


def work(world, tmp_path):
    """All that two processes are to show, in one start of them, since starting takes seconds."""
    train(world, tmp_path)
    train(world, tmp_path / "weighted", WEIGHTED, UNEQUAL)
    for check in (_normalize, _speak):
        check(world)
    score(world, tmp_path)
    stop_and_resume(world, tmp_path)
    prune_in(tmp_path, world)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A scorer trained by one process, and the same by two; its scores and a search by either."""
    folder = tmp_path_factory.mktemp("trained")
    train(ALONE, folder)
    train(ALONE, folder / "weighted", WEIGHTED, UNEQUAL)
    score(ALONE, folder)
    prune_in(folder, ALONE)
    start(work, folder)
    return folder


def state(folder, name):
    return torch.load(folder / name / "state.pt")


def rows(folder, name):
    return [json.loads(line) for line in (folder / name / METRICS).read_text().splitlines()]


@pytest.mark.parametrize("kind", ["", "weighted"])
def test_two_processes_end_with_the_weights_and_statistics_of_one(trained, kind):
    alone, first = state(trained / kind, "1-0"), state(trained / kind, "2-0")
    assert list(alone) == list(first)
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_two_processes_agree_to_the_last_bit(trained):
    first, second = state(trained, "2-0"), state(trained, "2-1")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_report_the_losses_and_errors_of_one(trained):
    for one, two in zip(rows(trained, "1-0"), rows(trained, "2-0"), strict=True):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-5)


def test_the_first_process_alone_keeps_checkpoints(trained):
    assert list((trained / "2-0").glob("checkpoint-*"))
    assert not list((trained / "2-1").glob("checkpoint-*"))


def _normalize(world):
    """Statistics and gradients of a BatchNorm are those of all images."""
    torch.manual_seed(0)
    images = torch.randn(7, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    reference, synced = nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    with torch.no_grad():
        for norm in (reference, synced):
            norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    synchronize(synced, world)
    assert isinstance(synced, SyncedBatchNorm2d)
    expected = reference(images)
    (expected**3).sum().backward()
    local = world.local_batch(images.detach()).requires_grad_()
    output = synced(local)
    (output**3).sum().backward()
    torch.testing.assert_close(output, world.local_batch(expected))
    torch.testing.assert_close(local.grad, world.local_batch(images.grad))
    torch.testing.assert_close(world.sum(synced.weight.grad), reference.weight.grad)
    torch.testing.assert_close(synced.running_mean, reference.running_mean)
    torch.testing.assert_close(synced.running_var, reference.running_var)
    plain = synced_batch_norm(local, synced.running_mean, synced.running_var, training=False)
    reference.eval()
    torch.testing.assert_close(
        plain * torch.tensor([0.5, 1.0, 2.0])[:, None, None], reference(local)
    )


def _speak(world):
    """What one process cannot do, all are told."""
    assert world.all_gather(world.rank) == [0, 1]
    assert world.from_first(lambda: world.rank) == 0
    assert world.together(lambda: world.rank) == world.rank
    assert world.local_batch(torch.arange(5)).tolist() == [[0, 2, 4], [1, 3]][world.rank]
    expected = ConfigError if world.is_first else SharedError
    with pytest.raises(expected, match="of one"):
        world.together(lambda: _fail(world.rank == 1))
    with pytest.raises(expected, match="of one"):
        world.from_first(lambda: _fail(world.rank == 0))


def _fail(fail):
    if fail:
        raise ConfigError("a mistake of one")


def test_two_processes_score_the_images_as_one(trained):
    one, two = ((trained / f"scores-{n}-0" / "losses.npy").read_bytes() for n in (1, 2))
    assert one == two


def test_a_search_by_two_processes_resumes_within_an_epoch_to_the_same_bytes(trained):
    for name in (METRICS, "checkpoint-000001.safetensors", "checkpoint-000002.safetensors"):
        straight, stopped = (trained / run / "0" / name for run in ("straight", "stopped"))
        assert straight.read_bytes() == stopped.read_bytes()


def test_a_search_by_two_processes_drops_the_images_that_one_drops(trained):
    one, two = (trained / f"pruned-{size}-0" for size in (1, 2))
    assert (one / PRUNING).read_bytes() == (two / PRUNING).read_bytes()
    found = json.loads((one / PRUNING).read_text())
    (kept,) = (each["kept"] for each in found["rounds"])
    sample, images = (
        [len(each) for each in part.values()] for part in (found["warmup"]["images"], kept)
    )
    assert sum(sample) < 0.3 * sum(found["images"])
    assert sum(sample) < sum(images) < 0.6 * sum(found["images"])
    for folder in (one, two):
        rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
        assert [row["images"] for row in rows] == [sample, sample, images]


def train_contestant(world, tmp_path):
    """Train a contestant in double precision, in which rounding stays too small to be seen."""
    build = retrain.build_network

    def build_double(*arguments):
        network = build(*arguments).double()
        network.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
        return network

    data = hold_out(load_dataset(DataConfig(kind="digits", images_per_class=40)), 0.2, seed=0)
    settings = {"channels": 4, "cells": 3, "epochs": 6, "batch_size": 32, "learning_rate": 0.1}
    training = ContestConfig.model_validate({"training": settings}).training
    with mock.patch.object(retrain, "build_network", build_double):
        retrain.retrain(
            GENOTYPES["darts_v2"],
            data,
            training,
            seed=0,
            device=CPU,
            workspace=workspace(tmp_path, world),
        )


@pytest.mark.long
def test_a_contestant_of_two_processes_has_the_accuracies_of_one_but_for_rounding(tmp_path):
    """In float32 rounding grows to other accuracies within epochs; see docs/recipes.md."""
    train_contestant(ALONE, tmp_path)
    start(train_contestant, tmp_path)
    one, two = (rows(tmp_path, name) for name in ("1-0", "2-0"))
    for mine, theirs in zip(one, two, strict=True):
        assert mine["test_accuracy"] == theirs["test_accuracy"]
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)


def test_alone_nothing_is_exchanged():
    model = nn.Sequential(nn.BatchNorm2d(3))
    synchronize(model, ALONE)
    assert type(model[0]) is nn.BatchNorm2d
    assert ALONE.all_gather(1) == [1]


@pytest.mark.parametrize(
    ("number", "size", "sizes"),
    [
        (10, 1, [4, 4, 2]),
        (9, 1, [4, 4]),
        (9, 2, [4, 4]),
        (10, 3, [4, 4]),
        (11, 3, [4, 4, 3]),
    ],
)
def test_every_process_has_an_image_of_every_batch(number, size, sizes):
    images = ImageSet(torch.zeros(number, 3, 2, 2), torch.zeros(number))
    loader = images.loader(4, CPU, training=True, world=World(0, size))
    seen = [len(rows) for (rows,) in loader.index_batches(torch.Generator())]
    assert seen == sizes
    assert [loader.global_batch(index) for index in range(len(loader))] == sizes

"""What a GPU must do as the CPU does; `make test-cuda`."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from classification.acceleration import replayed
from classification.compilation import check_compilation
from classification.data.loaders import ImageSet
from classification.data.transforms import Augmentation, Normalization
from classification.mixing import ManifoldMixup, MixingConfig
from classification.mixing.saliency import fine_grained_saliency
from classification.models import build_classifier
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator, reseed
from classification.training.schedules import make_sgd, set_learning_rate
from classification.training.trainer import to_device
from pcdarts.architect import Architect
from pcdarts.search import search
from pcdarts.search_config import SearchConfig
from pcdarts.steps import SearchSteps
from pcdarts.supernet import Supernet
from run_pipeline import main

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize(
    "kind", ["cutout", "mixup", "cutmix", "dmixup", "dcutmix", "saliency_dcutmix"]
)
def test_mixers_give_whole_labels_on_the_device(kind):
    mixer = MixingConfig(kind=kind).build(10)
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device="cuda")
    generator = make_generator(0, "mix", device="cuda")
    mixed, targets = mixer(images, torch.arange(64, device="cuda") % 10, generator)
    assert mixed.device == targets.device == images.device
    torch.testing.assert_close(targets.sum(1), torch.ones(64, device="cuda"))


@pytest.mark.parametrize(
    "kind", ["cutout", "mixup", "cutmix", "dmixup", "dcutmix", "saliency_dcutmix"]
)
def test_mixers_do_not_wait_for_the_device(kind):
    mixer = MixingConfig(kind=kind, prob=0.5).build(10)
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device="cuda")
    labels = torch.arange(64, device="cuda") % 10
    generator = make_generator(0, "mix", device="cuda")
    mixer(images, labels, generator)  # looks at the labels of its first batch
    torch.cuda.set_sync_debug_mode("error")
    try:
        mixer(images, labels, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_saliency_is_the_cpus():
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    here = fine_grained_saliency(images)
    assert torch.equal(fine_grained_saliency(images.cuda()).cpu(), here)


def test_manifold_mixup_is_captured_and_mixes_at_every_depth():
    torch.manual_seed(0)
    model = build_classifier("resnet8", 10).cuda()
    mixer = ManifoldMixup(model.stages[1:3], num_classes=10)
    images = torch.randn(16, 3, 16, 16, device="cuda")
    labels = torch.arange(16, device="cuda") % 10
    generator = torch.Generator("cuda").manual_seed(0)
    outputs = torch.zeros(16, 10, device="cuda")

    def step(images, labels):
        outputs.copy_(model(mixer(images, labels, generator)[0]).detach())

    (run,) = replayed([step], "on", torch.device("cuda"), [generator], print)
    seen = []
    for _ in range(12):
        run(images, labels)
        seen.append(outputs.clone())
    assert all(torch.isfinite(output).all() for output in seen)
    assert len({output.sum().item() for output in seen}) == 12


def test_augmentation_runs_without_waiting_for_the_device():
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device="cuda")
    augmentation = Augmentation(Normalization((0.5,) * 3, (0.2,) * 3), cutout=8)
    generator = make_generator(0, "augmentation", device="cuda")
    augmentation(images, generator)  # the constants are made once
    torch.cuda.set_sync_debug_mode("error")
    try:
        augmentation(images, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_supernet_gives_the_cpus_logits_and_gradients():
    torch.manual_seed(0)
    cpu = Supernet(10, 8, 5, 4, torch.Generator().manual_seed(0)).double()
    gpu = Supernet(10, 8, 5, 4).double()
    gpu.load_state_dict(cpu.state_dict())
    gpu.cuda()
    images, labels = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.arange(4)
    F.cross_entropy(cpu(images), labels).backward()
    F.cross_entropy(gpu(images.cuda()), labels.cuda()).backward()
    for here, there in zip(cpu.parameters(), gpu.parameters(), strict=True):
        torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=1e-6, atol=1e-9)


def test_compiled_cells_train_as_plain_ones(tmp_path):
    """Sums are rounded otherwise; with graphs, compiled cells are captured."""
    check_compilation("search", "on", torch.device("cuda"))
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(0)
    images = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8, device="cuda")
    halves = (ImageSet(images, torch.arange(64, device="cuda") % 10),) * 2
    augmentation = Augmentation(Normalization((0.5,) * 3, (0.2,) * 3))
    rows, spent = {}, Counter()
    for mode, graph in (("off", "off"), ("on", "off"), ("on", "on")):
        changes = {
            "compile": mode,
            "cuda_graph": graph,
            "channels": 8,
            "cells": 3,
            "batch_size": 16,
        }
        config = SearchConfig(epochs=2, warmup_epochs=1, **changes)
        workspace = Workspace(tmp_path / f"{mode}-{graph}")
        workspace.spent = lambda part, seconds: spent.update({part: seconds})
        search(halves, 10, augmentation, config, 0, workspace, torch.device("cuda"))
        rows[mode, graph] = workspace.rows()
    assert spent["compilation"] > 0
    plain = rows["off", "off"]
    for compiled in (rows["on", "off"], rows["on", "on"]):
        for epoch, expected in zip(compiled, plain, strict=True):
            assert epoch["loss"] == pytest.approx(expected["loss"], rel=1e-2)


def _steps(precision="fp32"):
    """Search steps over 72 random images, always from the same start, and an order of them."""
    torch.manual_seed(0)
    model = to_device(Supernet(10, 8, 4, 4, torch.Generator().manual_seed(0)), torch.device("cuda"))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (72, 3, 16, 16), generator=generator, dtype=torch.uint8).cuda()
    labels = torch.arange(72, device="cuda") % 10
    steps = SearchSteps(
        Architect(model.train(), 6e-4, 1e-3, precision),
        make_sgd(model.weight_parameters(), 0.05, 0.9, 3e-4),
        [ImageSet(images, labels).loader(32, images.device, training=True)] * 2,
        Augmentation(Normalization((0.5,) * 3, (0.2,) * 3)),
        5.0,
    )
    return steps, model, torch.randperm(72, generator=generator).cuda()


def _replayed(steps, cuda_graph="on"):
    both = [steps.architecture, steps.weights]
    return replayed(both, cuda_graph, torch.device("cuda"), steps.generators, print)


def _run(steps, runs, order, epochs):
    """Batches of 32, 32 and 8."""
    for epoch in range(epochs):
        for generator in steps.generators:
            reseed(generator, 0, "augmentation", epoch)
        for batch in order.split(32):
            for run in runs:
                run(batch)


@pytest.mark.parametrize("epochs", [1, 6])
def test_captured_steps_train_as_plain_ones(epochs):
    """Of six epochs, the small batch is captured after three; of one, nothing is yet."""
    torch.backends.cudnn.deterministic = True
    results = {}
    for mode in ("off", "on"):
        steps, model, order = _steps()
        _run(steps, _replayed(steps, mode), order, epochs)
        results[mode] = [steps.totals, *model.parameters()]
    for captured, plain in zip(results["on"], results["off"], strict=True):
        torch.testing.assert_close(captured, plain, rtol=1e-3, atol=1e-4)


def test_steps_do_not_wait_for_the_device():
    steps, _, order = _steps()
    runs = _replayed(steps)
    _run(steps, runs, order, 4)  # all captured
    torch.cuda.set_sync_debug_mode("error")
    try:
        _run(steps, runs, order, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_bf16_steps_stay_finite_and_near_fp32():
    losses = {}
    for precision in ("fp32", "bf16"):
        steps, model, order = _steps(precision)
        _run(steps, _replayed(steps), order, 5)
        assert all(parameter.isfinite().all() for parameter in model.parameters())
        losses[precision] = (steps.totals[0] / steps.totals[2]).item()
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)


def test_the_learning_rate_reaches_a_captured_step():
    steps, model, order = _steps()
    runs = _replayed(steps)
    _run(steps, runs, order, 4)
    set_learning_rate(steps.optimizer, 0.0)
    before = [weight.detach().clone() for weight in model.weight_parameters()]
    runs[1](order[:32])
    for weight, standing in zip(model.weight_parameters(), before, strict=True):
        assert torch.equal(weight, standing)


def test_the_pipeline_runs_end_to_end_on_the_device(tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(
        """
        data: {kind: digits, classes: 3, images_per_class: 24}
        scorer: {model: resnet8, epochs: 1, batch_size: 16}
        scores: {draws: 4}
        subset: {fraction: 0.5}
        search: {epochs: 2, warmup_epochs: 1, channels: 4, cells: 3, batch_size: 16}
        retrain: {channels: 4, cells: 3, epochs: 1, batch_size: 32}
        """
    )
    places = ["--artifacts", str(tmp_path / "artifacts"), "--runs", str(tmp_path / "runs")]
    assert main(["run", str(config), "--device", "cuda", *places]) == 0
    report = (tmp_path / "runs" / "tiny" / "report" / "report.md").read_text()
    assert "GPU-hours" in report

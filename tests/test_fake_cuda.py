"""Steps on fake CUDA tensors: a tensor left on the CPU, or a wait for the device, is an error here
and not first on a GPU.

Models are built on the CPU and moved, as with a GPU. Whatever reads a tensor of the device is
refused (`.cpu()`, `.to("cpu")`, `.item()`, `.tolist()`, `.numpy()`, a shape that depends on
values), except for as many copies to the CPU as a test allows.

What this cannot show: values, since fake tensors have none; mistakes in a backward pass, which
needs a real device and is replaced by gradients of zero; mistakes with CUDA generators, which here
only name their device; copies from pageable memory to the device, which a graph's capture refuses;
graphs, compiled cells and several processes. PuzzleMix and Co-Mixup decide on the CPU by what they
read: they get zeros, and the rounds in which PuzzleMix's patches outbid one another do not run.
"""

import itertools
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from classification.data.loaders import ImageSet
from classification.data.transforms import Augmentation, Normalization
from classification.mixing import MixingConfig, MixingContext
from classification.models import MODELS, build_classifier
from classification.models.pyramidnet import PyramidNet
from classification.persistence.workspace import Workspace
from classification.training.class_balance import class_weights, cross_entropy
from classification.training.schedules import set_learning_rate
from classification.training.step import AugmentAndMix, Recipe, TrainingStep
from evaluate.retrain import _average, build_network
from evaluate.retrain_config import RetrainConfig
from pcdarts import pruning
from pcdarts.architect import Architect
from pcdarts.genotype import CANDIDATES, Edge, Genotype
from pcdarts.search import build_supernet
from pcdarts.search_config import SearchConfig
from pcdarts.steps import SearchSteps
from subsample import boxes
from subsample.config import ScoresConfig
from subsample.mixes import draw_mixes
from subsample.uncertainty import score_mixes

CUDA = torch.device("cuda", 0)
CLASSES = 10
NORMALIZATION = Normalization((0.5,) * 3, (0.25,) * 3)
AUGMENTATION = Augmentation(NORMALIZATION, 4, flip=True, cutout=8, lighting=0.1)
SMALL = {"channels": 4, "cells": 3}
# Every operation of the search space, on the edges of each cell.
CELL = tuple(
    (Edge(CANDIDATES[2 * node], 0), Edge(CANDIDATES[(2 * node + 1) % len(CANDIDATES)], 1))
    for node in range(4)
)
GENOTYPE = Genotype(normal=CELL, reduce=CELL)


class FakeGenerator(torch.Generator):
    """A generator that says it is on the device it was asked for; the real one needs the device."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls)

    def __init__(self, device="cpu"):
        self._device = torch.device(device)

    @property
    def device(self):
        return self._device


class WaitError(AssertionError):
    """A tensor of the device was copied to the CPU."""


class Reads(TorchDispatchMode):
    """Refuses copies from the device to the CPU, but for the next `allowed` ones."""

    def __init__(self):
        super().__init__()
        self.allowed = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if "cuda" in devices((args, kwargs)) and "cpu" in devices(result):
            if not self.allowed:
                raise WaitError(function)
            self.allowed -= 1
        return result


def devices(values):
    """The types of the devices of all tensors in `values`."""
    return {each.device.type for each in tree_leaves(values) if isinstance(each, torch.Tensor)}


class WithoutDevice(TorchFunctionMode):
    """Draws without the generator, and fills in gradients: both need a real CUDA device. `answers`
    replace functions that look at values, by what they are called with."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in self.answers:
            return self.answers[function](*args, **kwargs)
        if function is torch.autograd.grad:
            return tuple(map(torch.zeros_like, args[1]))
        if function is torch.Tensor.backward:
            for parameter in kwargs.get("inputs") or leaves(args[0]):
                parameter.grad = torch.zeros_like(parameter)
            return None
        if function is torch._standard_gamma:  # has no form for fake tensors
            function, args = torch.empty_like, args[:1]
        if function is torch._fused_sgd_:  # nor has this
            everything = [*itertools.chain(*args), kwargs["lr"]]
            assert all(tensor.device == CUDA for tensor in everything)
            return None
        generator = kwargs.pop("generator", None)
        drawn = function(*args, **kwargs)
        if generator is not None:
            assert drawn.device.type == generator.device.type
        return drawn


def leaves(loss):
    """The parameters that `loss` depends on."""
    found, waiting = {}, [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = None
            waiting += [before for before, _ in node.next_functions]
    return [node.variable for node in found if hasattr(node, "variable")]


@pytest.fixture
def reads():
    return Reads()


@pytest.fixture
def answers():
    return {}


@pytest.fixture
def images(monkeypatch, reads, answers):
    """uint8 [4, 3, 32, 32] on a device that does not exist, which knows bf16."""
    forget_tensors()
    monkeypatch.setattr(torch, "Generator", FakeGenerator)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with FakeTensorMode(), WithoutDevice(answers), reads:
        yield torch.zeros(4, 3, 32, 32, dtype=torch.uint8, device=CUDA)
    forget_tensors()


@pytest.fixture
def labels(images):
    return torch.zeros(len(images), dtype=torch.int64, device=CUDA)


def forget_tensors():
    """Empty the caches of the modules, which may hold real tensors, or fake ones of this mode."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("classification.", "evaluate.", "pcdarts.", "subsample.")):
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


def built(build):
    """Build a model on the CPU and move its parameters and buffers, which `to` cannot do to fake
    ones."""
    model = build()
    for module in model.modules():
        for kept in (module._parameters, module._buffers):
            for name, tensor in kept.items():
                if tensor is not None:
                    moved = tensor.detach().to(CUDA)
                    kept[name] = torch.nn.Parameter(moved) if kept is module._parameters else moved
    return model


def sgd(parameters):
    """`make_sgd`, whose optimizer waits once, when it is made: it looks at its learning rate."""
    optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=1e-4, fused=True)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.1, device=CUDA)
    set_learning_rate(optimizer, 0.05)
    return optimizer


def draws():
    return torch.Generator(CUDA)


def on_cuda(output):
    first = output[0] if isinstance(output, tuple) else output
    assert first.device == CUDA
    return first


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("pyramidnet")])
def test_classifiers(images, name):
    model = built(partial(build_classifier, name, CLASSES))
    assert on_cuda(model(NORMALIZATION(images))).shape == (4, CLASSES)


def test_pyramidnet(images):
    model = built(partial(PyramidNet, 11, 8, CLASSES))
    assert on_cuda(model(NORMALIZATION(images))).shape == (4, CLASSES)


@pytest.mark.parametrize(("network", "precision"), [("cifar", "bf16"), ("imagenet", "fp32")])
def test_a_search_iteration(images, labels, network, precision):
    config = SearchConfig(network=network, partial_channels=2, warmup_epochs=0, **SMALL)
    model = built(partial(build_supernet, CLASSES, config, seed=0))
    architect = Architect(model, 1e-3, 1e-3, precision, gradient_clip=5.0)
    optimizer = sgd(model.weight_parameters())
    loader = ImageSet(images, labels).loader(4, CUDA, training=True)
    steps = SearchSteps(architect, optimizer, [loader] * 2, AUGMENTATION, 5.0)
    rows = torch.zeros(4, dtype=torch.int64, device=CUDA)
    steps.architecture(rows)
    steps.weights(rows)
    assert on_cuda(steps.totals).shape == (5,)


@pytest.mark.parametrize("predictions", ["plain", "mixes"])
def test_an_observation_reads_each_half_once(
    images, labels, reads, answers, monkeypatch, tmp_path, predictions
):
    monkeypatch.setattr(pruning, "_BATCH", 2)  # two batches of each half
    answers[torch.Tensor.pin_memory] = lambda rows: rows
    answers[torch.Tensor.__int__] = lambda label: 0  # of the first batch, which is looked at
    config = SearchConfig(partial_channels=2, pruning={"predictions": predictions}, **SMALL)
    model = built(partial(build_supernet, CLASSES, config, seed=0))
    halves = (ImageSet(images, labels),) * 2
    observer = pruning.Pruning(
        config.pruning, halves, (), NORMALIZATION, CLASSES, 0, Workspace(tmp_path)
    )
    reads.allowed = 2
    observed = observer._observe(1, model, config)
    assert [each.shape for each in observed] == [(4,), (4,)]
    assert reads.allowed == 0


@pytest.mark.parametrize(("network", "precision"), [("cifar", "bf16"), ("imagenet", "fp32")])
def test_a_retraining_step_of_a_found_network(images, labels, network, precision):
    config = RetrainConfig.model_validate({"network": network, **SMALL})
    model = built(partial(build_network, GENOTYPE, config, CLASSES))
    model.drop_path_prob = 0.3

    def objective(output, targets):
        logits, auxiliary = output
        return F.cross_entropy(logits, targets) + 0.4 * F.cross_entropy(auxiliary, targets)

    train(model, images, labels, MixingConfig(kind="none"), objective, precision=precision)


@pytest.mark.parametrize("averaged", [0, 1])
def test_a_step_with_averaged_weights(images, labels, monkeypatch, averaged):
    build = partial(built, partial(build_classifier, "resnet8", CLASSES))
    monkeypatch.setattr(torch.optim.swa_utils, "deepcopy", lambda model: build())  # not of fakes
    model = build()
    average = _average(model, 0.9)
    average.n_averaged = torch.tensor(averaged)  # the first step copies, later ones average
    train(model, images, labels, MixingConfig(kind="none"), F.cross_entropy, average=average)


@pytest.mark.parametrize("kind", ["none", "mixup"])
def test_a_step_with_class_weights(images, labels, reads, answers, kind):
    answers[torch.Tensor.bincount] = lambda counted, minlength: torch.ones(minlength)
    reads.allowed = 1  # before the training
    weights = class_weights("effective", 0.999, labels, CLASSES, CUDA)
    assert reads.allowed == 0
    model = built(partial(build_classifier, "resnet8", CLASSES))
    objective = partial(cross_entropy, weights=on_cuda(weights), label_smoothing=0.1)
    train(model, images, labels, MixingConfig(kind=kind), objective)


MIXERS = ["cutout", "mixup", "cutmix", "manifold_mixup", "dmixup", "dcutmix", "saliency_dcutmix"]


@pytest.mark.parametrize("kind", MIXERS)
def test_a_training_step_with_each_mixer_that_never_waits(images, labels, kind):
    """Only the first batch's labels are looked at, which waits."""
    model = built(partial(build_classifier, "resnet8", CLASSES))
    train(model, images, labels, MixingConfig(kind=kind, prob=0.5), F.cross_entropy)


@pytest.mark.parametrize(("kind", "copies"), [("puzzlemix", 3), ("comixup", 3)])
def test_a_mixer_that_decides_on_the_cpu(images, labels, reads, answers, kind, copies):
    """It reads costs once for each batch, and its mixes are on the device."""

    def empty(tensor, as_tuple):
        return (torch.zeros(0, dtype=torch.int64, device=tensor.device),) * tensor.ndim

    def zeros(tensor):
        assert tensor.device.type == "cpu"
        return np.zeros(tensor.shape, str(tensor.dtype).removeprefix("torch."))

    answers |= {
        torch.Tensor.__bool__: lambda tensor: False,
        torch.Tensor.__int__: lambda tensor: 2,
        torch.Tensor.nonzero: empty,
        torch.Tensor.numpy: zeros,
    }
    model = built(partial(build_classifier, "resnet8", CLASSES))
    context = MixingContext(NORMALIZATION, model, ())
    mixer = MixingConfig(kind=kind).build(CLASSES, context)
    reads.allowed = copies
    mixed, targets = mixer(NORMALIZATION(images), labels, draws())
    assert on_cuda(mixed).shape == images.shape
    assert on_cuda(targets).shape == (4, CLASSES)
    assert reads.allowed == 0


def train(model, images, labels, mixing, objective, **more):
    """Make a step of a classifier's training; `more` are of its recipe."""
    context = MixingContext(
        NORMALIZATION, model, model.stages[1:3] if hasattr(model, "stages") else ()
    )
    mixer = mixing.build(CLASSES, context)
    if mixer is not None:
        with pytest.raises(DataDependentOutputException):
            mixer(NORMALIZATION(images), labels, draws())
    recipe = Recipe(
        epochs=1,
        learning_rate=0.1,
        schedule=lambda epoch: 1.0,
        prepare=AugmentAndMix(AUGMENTATION, mixer),
        objective=objective,
        gradient_clip=5.0,
        **more,
    )
    optimizer = sgd(model.parameters())
    loader = ImageSet(images, labels).loader(4, CUDA, training=True)
    step = TrainingStep(model, optimizer, recipe, loader)
    step.run(torch.zeros(4, dtype=torch.int64, device=CUDA))
    assert on_cuda(step.totals).shape == (3,)


SCORES = [
    {"anchor": anchor, "fraction": fraction, "common_draws": common, "loss": loss}
    for anchor, fraction, common, loss in (
        ("canvas", "fixed", False, "kl"),
        ("patch", "dirichlet", True, "ce"),
        ("any", "fixed", False, "anchor_ce"),
    )
]


@pytest.mark.parametrize("changes", SCORES, ids=lambda changes: changes["anchor"])
def test_scoring(images, labels, changes):
    config = ScoresConfig.model_validate({"draws": 2, **changes})
    model = built(partial(build_classifier, "resnet8", CLASSES)).eval()
    anchors = torch.arange(4, device=CUDA)
    mixes = draw_mixes(anchors, images, config, seed=0, block=0)
    losses = score_mixes(model, images, labels, CLASSES, NORMALIZATION, config, mixes)
    assert on_cuda(losses).shape == (4, 2)


def test_scoring_under_a_box(images, labels, monkeypatch):
    # Chosen among on the CPU, where their number may depend on values.
    monkeypatch.setattr(boxes, "box_corners", lambda *_: torch.zeros(2, 2, dtype=torch.int64))
    test_scoring(images, labels, {"box": "edges"})


READS = {
    ".cpu()": lambda tensor: tensor.cpu(),
    '.to("cpu")': lambda tensor: tensor.to("cpu"),
    "copy_": lambda tensor: torch.zeros(()).copy_(tensor),
    ".item()": lambda tensor: tensor.item(),
    ".tolist()": lambda tensor: tensor.tolist(),
    ".numpy()": lambda tensor: tensor.numpy(),
    "float": float,
}
REFUSALS = {".numpy()": RuntimeError} | dict.fromkeys((".cpu()", '.to("cpu")', "copy_"), WaitError)


class Planted(torch.nn.Module):
    """A classifier with a mistake that a CPU does not show."""

    def __init__(self, mistake):
        super().__init__()
        self.classifier, self.mistake = torch.nn.Linear(3, CLASSES), mistake

    def forward(self, images):
        logits = self.classifier(images.mean((2, 3)))
        if self.mistake == "tensor on the CPU":
            return logits + torch.arange(CLASSES)
        if self.mistake == "shape that depends on the data":
            return logits[logits.detach()[:, 0] > 0]
        READS[self.mistake](logits.detach().abs().max())
        return logits


def test_a_tensor_left_on_the_cpu_is_found(images, labels):
    model = built(partial(Planted, "tensor on the CPU"))
    with pytest.raises(RuntimeError, match=r"[Dd]evice"):
        train(model, images, labels, MixingConfig(kind="none"), F.cross_entropy)


@pytest.mark.parametrize("mistake", [*READS, "shape that depends on the data"])
def test_a_wait_for_the_device_is_found(images, labels, mistake):
    model = built(partial(Planted, mistake))
    unseen = DataDependentOutputException, DynamicOutputShapeException
    with pytest.raises(REFUSALS.get(mistake, unseen)):
        train(model, images, labels, MixingConfig(kind="none"), F.cross_entropy)


def test_a_generator_of_another_device_is_found(images):
    with pytest.raises(AssertionError):
        AUGMENTATION(images, torch.Generator())

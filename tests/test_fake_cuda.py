"""Steps on fake CUDA tensors: a tensor left on the CPU, or a wait for the device, is an error here
and not first on a GPU.

Models are built on the CPU and moved, as with a GPU. A backward pass needs a real device: gradients
of zero replace it, and everything around it is run.
"""

import itertools
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode

from classification.data.loaders import ImageSet
from classification.data.transforms import Augmentation, Normalization
from classification.mixing import MixingConfig, MixingContext
from classification.models import MODELS, build_classifier
from classification.models.pyramidnet import PyramidNet
from classification.training.schedules import set_learning_rate
from classification.training.step import AugmentAndMix, Recipe, TrainingStep
from evaluate.retrain import build_network
from evaluate.retrain_config import RetrainConfig
from pcdarts.architect import Architect
from pcdarts.genotype import CANDIDATES, Edge, Genotype
from pcdarts.search import build_supernet
from pcdarts.search_config import SearchConfig
from pcdarts.steps import SearchSteps
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


class WithoutDevice(TorchFunctionMode):
    """Draws without the generator, and fills in gradients: both need a real CUDA device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
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
def images(monkeypatch):
    """uint8 [4, 3, 32, 32] on a device that does not exist."""
    forget_tensors()
    monkeypatch.setattr(torch, "Generator", FakeGenerator)
    with FakeTensorMode(), WithoutDevice():
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


@pytest.mark.parametrize("network", ["cifar", "imagenet"])
def test_a_search_iteration(images, labels, network):
    config = SearchConfig(network=network, partial_channels=2, warmup_epochs=0, **SMALL)
    model = built(partial(build_supernet, CLASSES, config, seed=0))
    architect = Architect(model, 1e-3, 1e-3, gradient_clip=5.0)
    optimizer = sgd(model.weight_parameters())
    loader = ImageSet(images, labels).loader(4, CUDA, training=True)
    steps = SearchSteps(architect, optimizer, [loader] * 2, AUGMENTATION, 5.0)
    rows = torch.zeros(4, dtype=torch.int64, device=CUDA)
    steps.architecture(rows)
    steps.weights(rows)
    assert on_cuda(steps.totals).shape == (5,)


@pytest.mark.parametrize("network", ["cifar", "imagenet"])
def test_a_retraining_step_of_a_found_network(images, labels, network):
    config = RetrainConfig.model_validate({"network": network, **SMALL})
    model = built(partial(build_network, GENOTYPE, config, CLASSES))
    model.drop_path_prob = 0.3

    def objective(output, targets):
        logits, auxiliary = output
        return F.cross_entropy(logits, targets) + 0.4 * F.cross_entropy(auxiliary, targets)

    train(model, images, labels, MixingConfig(kind="none"), objective)


MIXERS = ["cutout", "mixup", "cutmix", "manifold_mixup", "dmixup", "dcutmix", "saliency_dcutmix"]


@pytest.mark.parametrize("kind", MIXERS)
def test_a_training_step_with_each_mixer_that_never_waits(images, labels, kind):
    """Only the first batch's labels are looked at, which waits."""
    model = built(partial(build_classifier, "resnet8", CLASSES))
    train(model, images, labels, MixingConfig(kind=kind, prob=0.5), F.cross_entropy)


def train(model, images, labels, mixing, objective):
    """Make a step of a classifier's training."""
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


class Planted(torch.nn.Module):
    """A classifier with a mistake that a CPU does not show."""

    def __init__(self, mistake):
        super().__init__()
        self.classifier, self.mistake = torch.nn.Linear(3, CLASSES), mistake

    def forward(self, images):
        logits = self.classifier(images.mean((2, 3)))
        if self.mistake == "tensor on the CPU":
            return logits + torch.arange(CLASSES)
        if self.mistake == "wait":
            return logits / logits.detach().abs().max().item()
        return logits[logits.detach()[:, 0] > 0]


def test_a_tensor_left_on_the_cpu_is_found(images, labels):
    model = built(partial(Planted, "tensor on the CPU"))
    with pytest.raises(RuntimeError, match=r"[Dd]evice"):
        train(model, images, labels, MixingConfig(kind="none"), F.cross_entropy)


@pytest.mark.parametrize("mistake", ["wait", "shape that depends on the data"])
def test_a_wait_for_the_device_is_found(images, labels, mistake):
    model = built(partial(Planted, mistake))
    with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        train(model, images, labels, MixingConfig(kind="none"), F.cross_entropy)


def test_a_generator_of_another_device_is_found(images):
    with pytest.raises(AssertionError):
        AUGMENTATION(images, torch.Generator())

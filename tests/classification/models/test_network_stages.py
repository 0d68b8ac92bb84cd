"""The interface that all classifiers share: features, stages and the ends of residual branches."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from classification.models import MODELS, build_classifier
from classification.models.network import Classifier, ResidualBlock
from classification.models.pyramidnet import Bottleneck, PyramidNet
from classification.models.resnet import BasicBlock, PreActBlock, PreActResNet, ResNet, WideResNet
from classification.models.resnet9 import ResNet9
from classification.models.resnext import ResNeXt, ResNeXtBlock

_CLASSES = 5

# On images of 16 pixels, (channels, side) of what leaves every stage, and its residual branches.
_STAGES: dict[str, tuple[list[tuple[int, int]], list[int]]] = {
    "resnet8": ([(16, 16), (32, 8), (64, 4)], [1, 1, 1]),
    "resnet20": ([(16, 16), (32, 8), (64, 4)], [3, 3, 3]),
    "resnet9": ([(128, 16), (256, 8), (512, 4)], [1, 0, 1]),
    "preact_resnet18": ([(64, 16), (128, 8), (256, 4), (512, 2)], [2, 2, 2, 2]),
    # Four times the widths round(16 + 64 / 3), round(16 + 128 / 3) and 80.
    "pyramidnet110": ([(148, 16), (236, 8), (320, 4)], [12, 12, 12]),
    # Four times 16 + 80, 16 + 160 and 16 + 240.
    "pyramidnet200": ([(384, 16), (704, 8), (1024, 4)], [22, 22, 22]),
    "wrn16_8": ([(128, 16), (256, 8), (512, 4)], [2, 2, 2]),
    "resnext29_4_24": ([(256, 16), (512, 8), (1024, 4)], [3, 3, 3]),
    # The stem leaves 4 of 16 pixels.
    "resnet50": ([(256, 4), (512, 2), (1024, 1), (2048, 1)], [3, 4, 6, 3]),
}


@pytest.fixture(scope="module", params=list(MODELS))
def named(request: pytest.FixtureRequest) -> tuple[str, Classifier]:
    """Every classifier with its name, on the device that has shapes and no numbers."""
    with torch.device("meta"):
        return request.param, build_classifier(request.param, _CLASSES)


def _outputs(model: Classifier, modules: Iterable[nn.Module]) -> list[tuple[nn.Module, torch.Size]]:
    """The `modules` in the order in which they are called, with the shapes they put out."""
    calls: list[tuple[nn.Module, torch.Size]] = []
    with ExitStack() as stack, torch.no_grad():
        for module in modules:
            handle = module.register_forward_hook(lambda m, _, out: calls.append((m, out.shape)))
            stack.callback(handle.remove)
        model(torch.empty(2, 3, 16, 16, device="meta"))
    return calls


def test_stages_follow_each_other_and_put_out_maps(named: tuple[str, Classifier]) -> None:
    name, model = named
    calls = _outputs(model, reversed(model.stages))
    assert [stage for stage, _ in calls] == list(model.stages)
    assert [shape for _, shape in calls] == [(2, c, side, side) for c, side in _STAGES[name][0]]


def test_residual_ends_stand_in_order_of_depth(named: tuple[str, Classifier]) -> None:
    name, model = named
    ends = model.residual_ends
    calls = _outputs(model, reversed(ends))
    assert [end for end, _ in calls] == ends
    stages, branches = _STAGES[name]
    sides = [side for (_, side), count in zip(stages, branches, strict=True) for _ in range(count)]
    # ResNet-9 halves the maps between a stage and its branch.
    halved = 2 if name == "resnet9" else 1
    assert [shape[2] * halved for _, shape in calls] == sides


def test_gradients_reach_every_parameter(named: tuple[str, Classifier]) -> None:
    _, model = named
    model(torch.empty(2, 3, 16, 16, device="meta")).sum().backward()
    lacking = [name for name, weight in model.named_parameters() if weight.grad is None]
    model.zero_grad(set_to_none=True)
    assert not lacking


@pytest.mark.parametrize(
    ("build", "scale"),
    [
        (partial(ResNet, 8), 1),
        (ResNet9, 0.125),
        (partial(PreActResNet, 4, (4, 8), 1), 1),
        (partial(PyramidNet, 11, 6), 1),
        (partial(WideResNet, 10, 2), 1),
        (partial(ResNeXt, 11, 2, 8), 1),
    ],
)
def test_logits_are_the_linear_layer_on_the_features(
    build: Callable[[int], Classifier], scale: float
) -> None:
    model, images = build(_CLASSES).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        features = model.features(images)
        assert features.shape == (2, model.fc.in_features)
        torch.testing.assert_close(model(images), scale * model.fc(features))


@pytest.mark.parametrize(
    "block",
    [
        BasicBlock(8, 8, stride=1),
        PreActBlock(8, 8, stride=1),
        Bottleneck(8, 2, stride=1),
        ResNeXtBlock(8, 8, stride=1, cardinality=2, base_width=64),
    ],
    ids=lambda block: type(block).__name__,
)
def test_without_the_residual_end_a_block_is_its_shortcut(block: ResidualBlock) -> None:
    maps = torch.rand(2, 8, 4, 4)  # not negative, so that a last ReLU does nothing
    with torch.no_grad():
        assert not torch.equal(block(maps), maps)
        block.residual_end.register_forward_hook(
            lambda _module, _inputs, out: torch.zeros_like(out)
        )
        torch.testing.assert_close(block(maps), maps, rtol=0, atol=0)


def test_resnet9_drops_what_its_shortcuts_pass_by() -> None:
    model = ResNet9(_CLASSES).eval()
    for end in model.residual_ends:
        end.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out))
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        maps = model.prepare(images)
        for stage in model.stages:
            maps = nn.functional.max_pool2d(stage(maps), 2)
        torch.testing.assert_close(model.features(images), maps.flatten(1))


def test_torchvisions_resnet50_and_ours_are_one_network() -> None:
    theirs = torchvision.models.resnet50(num_classes=_CLASSES).eval()
    with torch.device("meta"):
        ours = build_classifier("resnet50", _CLASSES).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)  # strict: every name, every shape
    images = torch.randn(2, 3, 33, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)
        torch.testing.assert_close(ours(images), ours.fc(ours.features(images)), rtol=0, atol=0)


def test_resnet50_without_its_residual_ends_is_its_shortcuts() -> None:
    with torch.device("meta"):
        model = build_classifier("resnet50", _CLASSES).eval()
    bottlenecks = [block for stage in model.stages for block in stage]
    assert [block.bn3 for block in bottlenecks] == model.residual_ends
    block = bottlenecks[1].to_empty(device="cpu")  # any numbers do: the branch is dropped
    block.bn3.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out))
    maps = torch.rand(2, 256, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(block(maps), maps, rtol=0, atol=0)

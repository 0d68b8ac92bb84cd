import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from classification.errors import ConfigError
from classification.models import MODELS, build_classifier, smallest_classifier_input
from classification.models.pyramidnet import Bottleneck, PyramidNet
from classification.models.resnet import BasicBlock, PreActBlock, ResNet, WideResNet
from classification.models.resnext import ResNeXt, ResNeXtBlock


def _count(name: str, num_classes: int) -> int:
    return _count_of(partial(build_classifier, name, num_classes))


def _count_of(build: Callable[[], nn.Module]) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


# ResNet: by hand, convolutions 9·in·out and two numbers a BatchNorm channel. For depth 20: stem
# 464, stages 14,016 + 51,072 + 203,520, classifier 650; published as 0.27 M (He et al. 2016a,
# Table 6).
# PreActResNet-18: the commonly published 11,171,146 leaves out the last BatchNorm (2·512), which
# He et al. 2016b, section 3.2, have. PyramidNet: read off the implementation published with CutMix
# by building it; published as 1.7 M and 26.8 M (Han et al. 2017, Table 4).
# WRN-16-8 by hand: stem, two blocks a stage, last BatchNorm, classifier. ResNeXt-29 4×24d: stem,
# stages of a first block and two others (widths 96, 192, 384), classifier. ResNet-50: the figure
# torchvision publishes beside its weights.
@pytest.mark.parametrize(
    ("name", "num_classes", "parameters"),
    [
        ("resnet8", 10, 464 + 4_672 + 13_952 + 55_552 + 650),
        ("resnet20", 10, 269_722),
        # 3×3 convolutions, 3·64 + 64·128 + 2·128² + 128·256 + 256·512 + 2·512²; BatchNorms; linear.
        ("resnet9", 10, 9 * 729_280 + 2 * 2_240 + 5_120),
        ("preact_resnet18", 10, 11_171_146 + 2 * 512),
        ("pyramidnet110", 10, 1_696_410),
        ("pyramidnet110", 100, 1_725_300),
        ("pyramidnet200", 10, 26_752_702),
        ("pyramidnet200", 100, 26_844_952),
        (
            "wrn16_8",
            10,
            432
            + (168_224 + 295_424)
            + (918_272 + 1_180_672)
            + (3_671_552 + 4_720_640)
            + 1_024
            + 5_130,
        ),
        (
            "resnext29_4_24",
            10,
            1_856
            + (69_248 + 2 * 70_784)
            + (364_288 + 2 * 281_344)
            + (1_451_520 + 2 * 1_121_792)
            + 10_250,
        ),
        ("resnet50", 1000, 25_557_032),
    ],
)
def test_parameter_counts(name: str, num_classes: int, parameters: int) -> None:
    assert _count(name, num_classes) == parameters


def test_resnet20_with_projections_would_have_the_other_published_count() -> None:
    # 272,474 is what implementations with 1×1 convolutions and BatchNorm in two shortcuts count.
    assert _count("resnet20", 10) + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64) == 272_474


@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [(40, 1, 0.6), (40, 4, 8.9), (16, 8, 11.0), (22, 8, 17.2), (28, 10, 36.5)],
)
def test_wide_resnets_have_the_published_sizes(depth: int, widen: int, millions: float) -> None:
    # Zagoruyko & Komodakis 2016, Table 4.
    count = _count_of(partial(WideResNet, depth, widen, 10))
    assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize(("cardinality", "millions"), [(8, 34.4), (16, 68.1)])
def test_resnexts_have_the_published_sizes(cardinality: int, millions: float) -> None:
    # Xie et al. 2017, Table 7, for widths of 64. Their 68.1 is 68.155 rounded down.
    count = _count_of(partial(ResNeXt, 29, cardinality, 64, 10))
    assert count // 100_000 / 10 == millions


@pytest.mark.parametrize(
    "name",
    [
        "resnet8",
        "resnet20",
        "resnet9",
        "preact_resnet18",
        "wrn16_8",
        "resnext29_4_24",
        "resnet50",
    ],
)
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (32, 32)])
def test_any_image_size_gives_logits(name: str, size: tuple[int, int]) -> None:
    logits = build_classifier(name, 7).eval()(torch.randn(2, 3, *size))
    assert logits.shape == (2, 7)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_pyramidnet_takes_any_image_size(size: tuple[int, int]) -> None:
    assert PyramidNet(11, 6, num_classes=5).eval()(torch.randn(2, 3, *size)).shape == (2, 5)


def test_pyramidnet_names_and_shapes_fit_the_published_checkpoint() -> None:
    state = build_classifier("pyramidnet110", 100).state_dict()
    outside = {name.split(".")[0] for name in state}
    assert outside == {"conv1", "bn1", "layer1", "layer2", "layer3", "bn_final", "fc"}
    inside = {name.split(".")[2] for name in state if name.startswith("layer")}
    assert inside == {"bn1", "conv1", "bn2", "conv2", "bn3", "conv3", "bn4"}
    assert {int(name.split(".")[1]) for name in state if name.startswith("layer3")} == {*range(12)}
    # Widths round(16 + 64 k / 36): 17.8, 19.6, … 37.3 ends the first stage, 80 the last.
    assert state["layer1.0.conv1.weight"].shape == (18, 16, 1, 1)
    assert state["layer1.1.conv2.weight"].shape == (20, 20, 3, 3)
    assert state["layer2.0.conv1.weight"].shape == (39, 4 * 37, 1, 1)
    assert state["layer3.11.conv3.weight"].shape == (320, 80, 1, 1)
    assert state["fc.weight"].shape == (100, 320)


def test_basic_block_shortcut_subsamples_and_pads_with_zeros() -> None:
    block = BasicBlock(1, 2, stride=2)
    nn.init.zeros_(block.bn2.weight)
    maps = torch.tensor([[[[1.0, 2.0, -3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]]])
    expected = torch.tensor([[[[1.0, 0.0], [7.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(block(maps), expected)


def test_pyramid_shortcut_averages_pads_with_zeros_and_has_no_relu() -> None:
    block = Bottleneck(1, 1, stride=2).eval()
    nn.init.zeros_(block.bn4.weight)
    maps = torch.tensor([[[[-1.0, -2.0], [-3.0, -6.0]]]])
    torch.testing.assert_close(block(maps).flatten(), torch.tensor([-3.0, 0.0, 0.0, 0.0]))


def test_pyramid_bottleneck_has_no_first_relu_but_one_before_each_later_convolution() -> None:
    block = Bottleneck(1, 1, stride=1).eval()
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-12
    block.conv1.weight.data.fill_(-1)
    block.conv2.weight.data[0, 0, 1, 1] = 1
    block.conv3.weight.data.copy_(torch.tensor([1.0, -1.0, 2.0, 0.0]).view(4, 1, 1, 1))
    maps = torch.tensor([-2.0, 2.0]).view(2, 1, 1, 1)
    # -2 passes bn1 without a ReLU, turns to 2 and reaches conv3; 2 turns to -2 and stops at a ReLU.
    expected = torch.tensor([[-2.0 + 2.0, -2.0, 4.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(block(maps).flatten(1), expected)


def test_preact_projection_sees_activated_maps() -> None:
    block = PreActBlock(1, 2, stride=1).eval()
    nn.init.zeros_(block.conv2.weight)
    assert block.projection is not None
    block.projection.weight.data.fill_(1)
    assert block(torch.full((1, 1, 2, 2), -5.0)).abs().max() == 0
    assert PreActBlock(2, 2, stride=1).projection is None


def test_resnext_convolves_groups_apart_and_projects_without_activating() -> None:
    # As wide as the first stage puts out: two groups of one channel, beside a projection.
    block = ResNeXtBlock(2, 256, stride=2, cardinality=2, base_width=1).eval()
    assert block.conv2.weight.shape == (2, 1, 3, 3)
    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [
        (1, 1),
        (2, 2),
        (1, 1),
    ]
    nn.init.zeros_(block.bn3.weight)
    assert block.projection is not None
    block.projection[0].weight.data.fill_(1)
    maps = torch.tensor([[-1.0, 3.0], [-1.0, -4.0]]).view(2, 2, 1, 1)
    # -1 + 3 and -1 - 4, then the ReLU.
    torch.testing.assert_close(
        block(maps)[:, 0].flatten(), torch.tensor([2.0, 0.0]), rtol=1e-4, atol=0
    )


def test_resnext_widths_double_from_stage_to_stage() -> None:
    with torch.device("meta"):
        stages = ResNeXt(29, 4, 24, 10).stages
    assert [stage[0].conv2.weight.shape[:2] for stage in stages] == [(96, 24), (192, 48), (384, 96)]


def test_wide_resnet_is_preactivation_throughout_and_projects_where_it_widens() -> None:
    with torch.device("meta"):
        stages = WideResNet(16, 8, 10).stages
        thin = WideResNet(10, 1, 10).stages
    projected = [[block.projection is not None for block in stage] for stage in stages]
    assert projected == [[True, False]] * 3
    assert [stage[0].projection is not None for stage in thin] == [False, True, True]
    assert not any(name.endswith("bias") and "conv" in name for name in stages[0].state_dict())


def test_convolutions_start_with_he_variance() -> None:
    torch.manual_seed(0)
    weight = build_classifier("preact_resnet18", 10).layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet8", 4),
        ("pyramidnet110", 4),
        ("preact_resnet18", 8),
        ("wrn16_8", 4),
        ("resnext29_4_24", 4),
        ("resnet50", 32),
    ],
)
def test_minimum_image_size_leaves_one_pixel_after_the_reductions(name: str, size: int) -> None:
    assert smallest_classifier_input(name) == size


def test_unknown_classifier_is_named_with_those_allowed() -> None:
    with pytest.raises(ConfigError, match="'resnet11', allowed: resnet8, resnet20, "):
        build_classifier("resnet11", 10)
    with pytest.raises(ConfigError, match="resnet11"):
        smallest_classifier_input("resnet11")
    assert set(MODELS) >= {"resnet8", "preact_resnet18", "pyramidnet110", "pyramidnet200"}


@pytest.mark.parametrize("depth", [2, 9])
def test_impossible_depths_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="6n \\+ 2"):
        ResNet(depth, 10)
    with pytest.raises(ValueError, match="9n \\+ 2"):
        PyramidNet(depth, 64, 10)
    with pytest.raises(ValueError, match="9n \\+ 2"):
        ResNeXt(depth, 4, 24, 10)
    with pytest.raises(ValueError, match="6n \\+ 4"):
        WideResNet(depth, 8, 10)
    with pytest.raises(ValueError, match="widen 0"):
        WideResNet(16, 0, 10)


def test_torchvision_is_imported_only_for_what_needs_it() -> None:
    code = (
        "import sys, classification.models, classification.training.regularisers;"
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pcdarts.network import (
    AuxiliaryHead,
    CifarNetwork,
    ImageNetNetwork,
    drop_path,
)
from pcdarts.network_kind import smallest_network_input
from pcdarts.published_genotypes import GENOTYPES

# Parameters for CIFAR-10, CIFAR-100 and ImageNet without auxiliary head, then multiply-adds
# (convolutions and classifier, millions) at 224×224: read off the public reference.
ORACLES = [
    ("pcdarts_cifar10", 3_634_678, 3_686_608, 5_270_560, 571.1),
    ("pcdarts_imagenet", 3_721_510, 3_773_440, 5_342_464, 581.6),
    ("darts_v1", 3_169_414, 3_221_344, 4_510_432, 505.9),
    ("darts_v2", 3_349_342, 3_401_272, 4_718_752, 529.9),
]


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "cifar10", "cifar100", "imagenet", "_"), ORACLES)
def test_networks_have_the_parameters_of_the_reference(
    name: str, cifar10: int, cifar100: int, imagenet: int, _: float
) -> None:
    with torch.device("meta"):
        genotype = GENOTYPES[name]
        assert _parameters(CifarNetwork(genotype, 10, auxiliary=False)) == cifar10
        assert _parameters(CifarNetwork(genotype, 100, auxiliary=False)) == cifar100
        assert _parameters(ImageNetNetwork(genotype, auxiliary=False)) == imagenet


@pytest.mark.parametrize(
    ("network", "num_classes", "parameters"),
    [
        (CifarNetwork, 10, 476_426),
        (CifarNetwork, 100, 545_636),
        (ImageNetNetwork, 1000, 1_260_776),
    ],
)
def test_auxiliary_heads_have_the_parameters_of_the_reference(
    network: type[CifarNetwork] | type[ImageNetNetwork], num_classes: int, parameters: int
) -> None:
    with torch.device("meta"):
        head = network(GENOTYPES["darts_v2"], num_classes).auxiliary_head
    assert head is not None
    assert _parameters(head) == parameters


@pytest.mark.parametrize(("name", "_", "__", "___", "millions"), ORACLES)
def test_imagenet_networks_have_the_multiply_adds_of_the_reference(
    name: str, _: int, __: int, ___: int, millions: float
) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ImageNetNetwork(GENOTYPES[name]).eval()(torch.empty(1, 3, 224, 224))
    # The counter counts a multiply-add as two operations.
    assert round(counter.get_total_flops() / 2 / 1e6, 1) == millions


@pytest.mark.parametrize("name", GENOTYPES)
@pytest.mark.parametrize("side", [8, 9, 28, 32])
def test_cifar_network_takes_any_side(name: str, side: int) -> None:
    network = CifarNetwork(GENOTYPES[name], 5, channels=4, cells=3)
    logits, auxiliary = network(torch.randn(2, 3, side, side))
    assert logits.shape == (2, 5)
    assert auxiliary is not None
    assert auxiliary.shape == (2, 5)


@pytest.mark.parametrize("side", [64, 65, 100])
def test_imagenet_network_takes_any_side(side: int) -> None:
    network = ImageNetNetwork(GENOTYPES["darts_v1"], 5, channels=4, cells=3)
    logits, auxiliary = network(torch.randn(2, 3, side, side))
    assert logits.shape == (2, 5)
    assert auxiliary is not None
    assert auxiliary.shape == (2, 5)


def test_auxiliary_logits_are_for_training_only() -> None:
    network = CifarNetwork(GENOTYPES["darts_v2"], 5, channels=4, cells=3).eval()
    assert network(torch.randn(2, 3, 8, 8))[1] is None


@pytest.mark.parametrize(("side", "stride"), [(8, 3), (7, 2), (6, 1)])
def test_auxiliary_head_pools_as_the_reference_where_it_can(side: int, stride: int) -> None:
    head = AuxiliaryHead(3, 5, norm=True).eval()
    maps = torch.rand(2, 3, side, side)
    pooled = nn.functional.avg_pool2d(maps, 5, stride)
    assert pooled.shape[2:] == (2, 2)
    torch.testing.assert_close(head(maps), head.classifier(head.features(pooled).flatten(1)))


@pytest.mark.parametrize(
    ("kind", "network"), [("cifar", CifarNetwork), ("imagenet", ImageNetNetwork)]
)
def test_the_smallest_images_leave_maps_of_2x2(kind: str, network: type[CifarNetwork]) -> None:
    side = smallest_network_input(kind)
    model = network(GENOTYPES["darts_v2"], 5, channels=4, cells=3)
    shapes = []
    model.cells[-1].register_forward_hook(lambda *hook: shapes.append(hook[2].shape[2:]))
    model(torch.randn(2, 3, side, side))
    assert shapes == [(2, 2)]


def test_dropped_paths_are_whole_samples_and_keep_the_mean() -> None:
    torch.manual_seed(0)
    outputs = drop_path(torch.ones(4000, 2, 3, 3), 0.25)
    kept = outputs[:, 0, 0, 0]
    assert torch.equal(outputs, kept[:, None, None, None].expand_as(outputs))
    assert set(kept.tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert kept.mean().item() == pytest.approx(1, abs=0.03)


def test_paths_are_dropped_in_training_only() -> None:
    network = CifarNetwork(GENOTYPES["darts_v2"], 5, channels=4, cells=3, auxiliary=False)
    network.drop_path_prob = 0.5
    images = torch.randn(2, 3, 8, 8)
    assert not torch.equal(network(images)[0], network(images)[0])
    network.eval()
    assert torch.equal(network(images)[0], network(images)[0])


def test_an_identity_is_never_dropped() -> None:
    # The normal cell's third node of DARTS v2 adds a skip connection from source 0.
    cell = CifarNetwork(GENOTYPES["darts_v2"], 5, channels=4, cells=3, auxiliary=False).cells[0]
    state = torch.randn(8, 12, 4, 4)
    almost_all = cell(state, state, 1 - 1e-7).chunk(4, 1)
    torch.testing.assert_close(almost_all[2], cell.preprocess0(state))
    assert almost_all[0].abs().max() == 0

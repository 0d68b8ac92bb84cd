import pytest
import torch
from torch import Tensor, nn

from classification.errors import ConfigError
from evaluate.complexity import Complexity, complexity_warning, measure_complexity
from pcdarts.network import ImageNetNetwork
from pcdarts.published_genotypes import GENOTYPES

# One 3×3 convolution (3 → 4, padded, no bias) on 8×8: 108 parameters, 8·8·4·27 = 6,912.
# A classifier 4 → 2 with bias: 10 parameters, 8 multiply-adds.
CONVOLUTION_AND_CLASSIFIER = Complexity(118, 0, 6920)


class Network(nn.Module):
    def __init__(self, auxiliary: nn.Module | None = None, always: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.classifier = nn.Linear(4, 2)
        self.auxiliary_head = auxiliary
        self.always = always

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.convolution(images)
        extra = None
        if self.auxiliary_head is not None and (self.training or self.always):
            extra = self.auxiliary_head(features)
        return self.classifier(features.mean((2, 3))), extra


def auxiliary_head() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 5, 8), nn.Flatten(), nn.Linear(5, 2))


def test_convolution_and_classifier_are_counted_once_a_multiply_add() -> None:
    assert measure_complexity(Network, 8) == CONVOLUTION_AND_CLASSIFIER


def test_multiply_adds_of_a_convolution_grow_with_the_area() -> None:
    assert measure_complexity(Network, 16).multiply_adds == 4 * 6912 + 8


def test_a_depthwise_convolution_costs_one_filter_a_channel() -> None:
    def build() -> nn.Module:
        return nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)

    assert measure_complexity(build, 4) == Complexity(27, 0, 16 * 27)


def test_normalisation_and_activations_are_counted_apart() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU(inplace=True))

    # 48 elements: two multiply-adds of the BatchNorm and one of each ReLU.
    complexity = measure_complexity(build, 4)
    assert complexity == Complexity(6, 0, 0, elementwise=4 * 48)
    assert complexity.all_multiply_adds == 192


@pytest.mark.parametrize(
    ("name", "alone", "published"),
    [("pcdarts_cifar10", 571.1, 586), ("pcdarts_imagenet", 581.6, 597)],
)
def test_both_conventions_give_the_figures_of_their_papers(
    name: str, alone: float, published: int
) -> None:
    complexity = measure_complexity(lambda: ImageNetNetwork(GENOTYPES[name]), 224)
    assert round(complexity.multiply_adds / 1e6, 1) == alone
    assert round(complexity.all_multiply_adds / 1e6) == published  # Xu et al. 2020, Table 2


@pytest.mark.parametrize("always", [True, False])
def test_the_auxiliary_head_is_reported_apart_whether_or_not_it_runs(always: bool) -> None:
    complexity = measure_complexity(lambda: Network(auxiliary_head(), always), 8)
    # 4·5·64 + 5 of the convolution, 5·2 + 2 of its classifier.
    assert complexity == Complexity(118, 1297, 6920)


def test_an_auxiliary_head_inside_another_is_left_out_once() -> None:
    def build() -> nn.Module:
        outer = nn.Sequential()
        outer.add_module("auxiliary_inner", auxiliary_head())
        return Network(outer)

    complexity = measure_complexity(build, 8)
    assert complexity == Complexity(118, 1297, 6920)


def test_the_auxiliary_head_of_a_part_is_left_out() -> None:
    complexity = measure_complexity(lambda: nn.Sequential(Network(auxiliary_head())), 8)
    assert complexity == Complexity(118, 1297, 6920)


def test_nothing_is_allocated() -> None:
    # 4 TB of weights, if they were real.
    complexity = measure_complexity(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 10**11, bias=False)), 2
    )
    assert complexity.multiply_adds == complexity.parameters == 12 * 10**11


def test_building_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    measure_complexity(Network, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_images_too_small_for_the_network_are_named() -> None:
    with pytest.raises(ConfigError, match=r"image_size: 4 does not fit the network \(.*too small"):
        measure_complexity(lambda: nn.Sequential(nn.AvgPool2d(5)), 4)


def test_a_line_names_both_conventions() -> None:
    assert str(Complexity(118, 0, 6920, 80)) == (
        "118 parameters, 6,920 multiply-adds of convolutions and classifier "
        "(7,000 with normalisation and activations)"
    )


def test_warning_states_the_figure_and_the_limit() -> None:
    warning = complexity_warning(Complexity(1, 0, 671_000_000))
    assert warning == (
        "671.0 M multiply-adds of convolutions and classifier "
        "exceed the 600 M of the mobile setting"
    )


def test_no_warning_up_to_the_limit() -> None:
    assert complexity_warning(Complexity(1, 0, 600_000_000)) is None
    assert complexity_warning(Complexity(1, 0, 11), limit=10) is not None

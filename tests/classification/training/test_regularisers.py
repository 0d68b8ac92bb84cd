import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.errors import ConfigError
from classification.models import build_classifier
from classification.models.network import Classifier
from classification.models.pyramidnet import PyramidNet
from classification.models.resnet import PreActResNet, ResNet
from classification.models.resnet9 import ResNet9
from classification.models.resnext import ResNeXt
from classification.seeding import seeded
from classification.training.regularisers import add_drop_block, add_stochastic_depth


class _Parts(Classifier):
    """Identities, each of them a stage and the end of a branch; tests call them one by one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Identity() for _ in range(number))
        self.fc = nn.Linear(1, 2)

    def features(self, images: Tensor) -> Tensor:
        return images

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        return tuple(self.parts)

    @property
    def residual_ends(self) -> list[nn.Module]:
        return list(self.parts)


_SMALL: dict[str, Callable[[int], Classifier]] = {
    "resnet": partial(ResNet, 8),
    "resnet9": ResNet9,
    "preact_resnet": partial(PreActResNet, 4, (4, 8), 2),
    "pyramidnet": partial(PyramidNet, 11, 6),
    "resnext": partial(ResNeXt, 11, 2, 8),
}


def _both(model: Classifier) -> None:
    add_stochastic_depth(model, 0.5)
    add_drop_block(model, 0.2)


def _train_logits(model: Classifier, images: Tensor, seed: int) -> Tensor:
    """Logits in training mode, which do not depend on BatchNorm's running statistics."""
    with torch.no_grad(), seeded(seed, "test"):
        return model.train()(images)


# Drawn shares of 4,000 samples lie within 0.03, four standard deviations, of their probability.
_SAMPLES, _TOLERANCE = 4000, 0.03


def test_branches_are_dropped_in_proportion_to_their_depth() -> None:
    model = _Parts(4)
    add_stochastic_depth(model, 0.8)
    torch.manual_seed(0)
    for end, probability in zip(model.residual_ends, [0.2, 0.4, 0.6, 0.8], strict=True):
        branch = end(torch.ones(_SAMPLES, 1))
        assert (branch == 0).float().mean().item() == pytest.approx(probability, abs=_TOLERANCE)
        # What remains is divided by the chance of remaining, so the expectation is kept.
        kept = branch[branch != 0]
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - probability)))


def test_a_branch_is_dropped_for_whole_samples() -> None:
    model = _Parts(1)
    add_stochastic_depth(model, 0.5)
    torch.manual_seed(0)
    maps = torch.rand(64, 3, 2, 2) + 1
    ratios = (model.residual_ends[0](maps) / maps).flatten(1)
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))
    assert set(ratios[:, 0].round(decimals=4).tolist()) == {0.0, 2.0}


def test_a_sample_whose_branches_are_all_dropped_passes_by_the_shortcuts() -> None:
    model = build_classifier("resnet8", 4)
    add_stochastic_depth(model, 0.999_999)  # the last branch always, the others by chance
    shortcut = copy.deepcopy(model)
    for end in shortcut.residual_ends:
        end.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out))
    images = torch.randn(64, 3, 8, 8)
    with torch.no_grad(), seeded(0, "test"):
        differences = (model.train()(images) - shortcut.train()(images)).abs().amax(1)
    # Both of the others in 1/3 · 2/3 of the samples: 14 of 64 are expected.
    assert 5 <= (differences < 1e-6).sum() <= 25


def test_blocks_are_dropped_where_hand_worked_chances_say() -> None:
    model = _Parts(2)
    add_drop_block(model, 0.45, block_size=3)
    torch.manual_seed(0)
    dropped = (model.stages[-1](torch.ones(_SAMPLES, 2, 4, 4)) == 0).float().mean((0, 1))
    # Blocks of 3×3 fit on 4×4 at 2×2 places, each with γ = 0.45 · 16 / (9 · 4) = 0.2. One of them
    # covers a corner, two an edge, four the middle: 0.2, 1 - 0.8² = 0.36, 1 - 0.8⁴ = 0.5904.
    expected = torch.full((4, 4), 0.36)
    expected[::3, ::3] = 0.2
    expected[1:3, 1:3] = 0.5904
    torch.testing.assert_close(dropped, expected, rtol=0, atol=_TOLERANCE)


def test_what_is_dropped_are_whole_blocks_and_the_rest_makes_up_for_it() -> None:
    model = _Parts(2)
    add_drop_block(model, 0.3, block_size=3)
    torch.manual_seed(0)
    maps = model.stages[-1](torch.ones(16, 8, 9, 7))
    zeros = (maps == 0).float()
    assert 0.1 < zeros.mean() < 0.3
    # Every zero lies in a 3×3 square of zeros: erosion followed by dilation changes nothing.
    eroded = -F.max_pool2d(-zeros, 3, stride=1)
    torch.testing.assert_close(F.max_pool2d(F.pad(eroded, [2] * 4), 3, stride=1), zeros)
    assert maps.mean().item() == pytest.approx(1, abs=1e-5)
    assert maps.unique().numel() == 2


def test_each_map_of_a_sample_draws_its_own_blocks() -> None:
    model = _Parts(2)
    add_drop_block(model, 0.5, block_size=3)
    torch.manual_seed(0)
    maps = model.stages[-1](torch.ones(1, 8, 6, 6))[0]
    assert len({tuple(channel.flatten().tolist()) for channel in maps}) > 1


def test_on_maps_as_small_as_a_block_whole_maps_are_dropped() -> None:
    model = _Parts(2)
    add_drop_block(model, 0.25)
    torch.manual_seed(0)
    for side in (7, 5, 3, 1):
        maps = (model.stages[-1](torch.ones(_SAMPLES // 2, 2, side, side)) == 0).flatten(2)
        assert torch.equal(maps.any(2), maps.all(2))
        assert maps.float().mean().item() == pytest.approx(0.25, abs=_TOLERANCE)


@pytest.mark.parametrize(("side", "zeros"), [(4, 9), (2, 1), (6, 25)])
def test_on_maps_of_even_side_a_block_is_one_pixel_narrower(side: int, zeros: int) -> None:
    model = _Parts(2)
    add_drop_block(model, 0.05)
    torch.manual_seed(0)
    counts = (model.stages[-1](torch.ones(500, 1, side, side)) == 0).flatten(1).sum(1)
    assert counts[counts > 0].min() == zeros


def test_blocks_are_dropped_behind_the_last_two_stages_alone() -> None:
    model = _Parts(4)
    add_drop_block(model, 0.5)
    torch.manual_seed(0)
    changed = [bool((stage(torch.ones(8, 8, 9, 9)) != 1).any()) for stage in model.stages]
    assert changed == [False, False, True, True]


@pytest.fixture(params=[*_SMALL, "resnet50"])
def model(request: pytest.FixtureRequest) -> Classifier:
    """A small classifier of every class, and ResNet-50, which works in place."""
    torch.manual_seed(0)
    return _SMALL[request.param](4) if request.param in _SMALL else build_classifier("resnet50", 4)


def test_evaluation_and_state_dict_stay_those_of_the_bare_model(model: Classifier) -> None:
    names, images = list(model.state_dict()), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        bare = model.eval()(images)
        _both(model)
        torch.testing.assert_close(model(images), bare, rtol=0, atol=0)
    assert list(model.state_dict()) == names


def test_training_draws_anew_and_repeats_from_its_seed(model: Classifier) -> None:
    images = torch.randn(4, 3, 16, 16)
    bare = _train_logits(model, images, seed=1)
    _both(model)
    first = _train_logits(model, images, seed=1)
    assert not torch.equal(first, bare)
    assert not torch.equal(first, _train_logits(model, images, seed=2))
    torch.testing.assert_close(first, _train_logits(model, images, seed=1), rtol=0, atol=0)


def test_training_backpropagates_through_what_was_dropped(model: Classifier) -> None:
    _both(model)
    model.train()(torch.randn(4, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_copy_drops_by_itself() -> None:
    model = _Parts(1)
    add_stochastic_depth(model, 0.5)
    twin = copy.deepcopy(model)
    model.eval()
    maps = torch.ones(64, 1)
    assert torch.equal(model.residual_ends[0](maps), maps)
    assert not torch.equal(twin.residual_ends[0](maps), maps)


def test_probability_zero_adds_nothing_and_draws_nothing() -> None:
    model = _Parts(2)
    add_stochastic_depth(model, 0.0)
    add_drop_block(model, 0.0)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_probabilities_are_refused_by_their_key(probability: float) -> None:
    with pytest.raises(ConfigError, match=f"scorer.stochastic_depth: found {probability}"):
        add_stochastic_depth(_Parts(2), probability)
    with pytest.raises(ConfigError, match=f"scorer.drop_block: found {probability}"):
        add_drop_block(_Parts(2), probability)


@pytest.mark.parametrize("block_size", [0, 4, -1])
def test_blocks_without_a_centre_are_refused_by_their_key(block_size: int) -> None:
    with pytest.raises(ConfigError, match=f"scorer.drop_block_size: found {block_size}"):
        add_drop_block(_Parts(2), 0.1, block_size)

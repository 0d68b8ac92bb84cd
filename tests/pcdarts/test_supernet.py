from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.search import OperationCounter
from classification.training.schedules import make_sgd
from pcdarts.architect import Architect
from pcdarts.conversion import to_merged, to_plain
from pcdarts.network_kind import NetworkKind
from pcdarts.plain_supernet import PlainSupernet
from pcdarts.steps import weight_step
from pcdarts.supernet import Supernet


def _small(generator: torch.Generator | None = None) -> Supernet:
    return Supernet(5, channels=4, cells=3, partial=2, generator=generator)


@pytest.mark.parametrize(
    ("num_classes", "partial", "parameters"),
    [(10, 4, 299_578), (100, 4, 322_708), (10, 1, 1_930_618)],
)
def test_supernet_has_the_weights_of_the_reference(
    num_classes: int, partial: int, parameters: int
) -> None:
    with torch.device("meta"):
        model = Supernet(num_classes, partial=partial)
    assert sum(weight.numel() for weight in model.weight_parameters()) == parameters


def test_the_imagenet_supernet_has_the_weights_of_the_reference() -> None:
    """C = 16, 8 cells, K = 2, 1,000 classes: counted in the authors' public PC-DARTS repository,
    model_search_imagenet.py run with calls to CUDA left out. α and β are not among them there.
    """
    with torch.device("meta"):
        model = Supernet(1000, partial=2, network="imagenet")
    assert sum(weight.numel() for weight in model.weight_parameters()) == 956_512


def test_the_imagenet_stem_gives_the_first_cell_a_quarter_and_an_eighth_of_the_sides() -> None:
    model = Supernet(5, channels=4, cells=3, partial=2, network="imagenet")
    states = model._stem_states(torch.randn(2, 3, 224, 224))
    assert [tuple(state.shape) for state in states] == [(2, 12, 56, 56), (2, 12, 28, 28)]


def test_weights_and_architecture_divide_the_parameters() -> None:
    model = _small()
    parts = [*model.weight_parameters(), *model.architecture_parameters()]
    assert {id(part) for part in parts} == {id(parameter) for parameter in model.parameters()}
    assert [tuple(part.shape) for part in model.architecture_parameters()] == [
        (14, 8),
        (14, 8),
        (14,),
        (14,),
    ]


def test_architecture_starts_near_zero_from_the_generator() -> None:
    first = _small(torch.Generator().manual_seed(3))
    again = _small(torch.Generator().manual_seed(3))
    drawn = torch.cat([part.flatten() for part in first.architecture_parameters()])
    assert torch.equal(first.alphas_reduce, again.alphas_reduce)
    assert drawn.std().item() == pytest.approx(1e-3, rel=0.2)


@pytest.mark.parametrize("side", [8, 9, 11])
@pytest.mark.parametrize("partial", [1, 2, 4])
def test_any_side_and_share_of_channels_gives_logits(side: int, partial: int) -> None:
    model = Supernet(5, channels=4, cells=3, partial=partial)
    assert model(torch.randn(2, 3, side, side)).shape == (2, 5)


def test_channels_that_k_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="partial 4 must divide channels 6"):
        Supernet(10, channels=6)


def test_every_weight_and_every_alpha_and_beta_has_a_gradient() -> None:
    model = _small()
    F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def _pair(partial: int, network: NetworkKind = "cifar") -> tuple[PlainSupernet, Supernet]:
    """The same supernet in both forms, float64, with α and β far from where a search starts."""
    torch.manual_seed(partial)
    plain = PlainSupernet(5, channels=8, cells=5, partial=partial, network=network).double()
    for parameter in plain.architecture_parameters():
        parameter.data.normal_()
    merged = Supernet(5, channels=8, cells=5, partial=partial, network=network).double()
    merged.load_state_dict(to_merged(plain.state_dict()))
    return plain, merged


def _assert_same(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Every tensor within 1e-10 of the other's largest entry."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        # Of a constant loss in a direction, gradients are rounding alone: 1e-14 of nothing.
        error = (actual[name] - value).abs().max().item()
        assert error <= 1e-10 * value.abs().max().item() + 1e-14, name


@pytest.mark.parametrize(
    ("network", "side", "partial"),
    [
        *(("cifar", side, partial) for side in (8, 9, 16) for partial in (1, 2, 4)),
        *(("imagenet", side, 2) for side in (64, 72)),  # 8 and 9 pixels after the stem
    ],
)
def test_merging_changes_neither_logits_nor_gradients_nor_statistics(
    network: NetworkKind, side: int, partial: int
) -> None:
    """Against the plain supernet in float64, where rounding hides nothing."""
    plain, merged = _pair(partial, network)
    images, gradients = torch.randn(3, 3, side, side, dtype=torch.float64), {}
    for name, model in {"plain": plain, "merged": merged}.items():
        logits = model.train()(images)
        F.cross_entropy(logits, torch.arange(3)).backward()
        gradients[name] = {key: p.grad for key, p in model.named_parameters()} | {"logits": logits}
    _assert_same(to_plain(gradients["merged"]), gradients["plain"])
    _assert_same(to_plain(merged.state_dict()), plain.state_dict())  # running statistics too
    _assert_same({"": merged.eval()(images)}, {"": plain.eval()(images)})


def test_six_iterations_leave_the_same_checkpoint_and_genotype() -> None:
    """Weights, statistics, α, β, momenta and Adam's averages, in the plain form's names."""
    plain, merged = _pair(partial=4)
    images, labels = torch.randn(6, 8, 3, 8, 8, dtype=torch.float64), torch.arange(8) % 5
    states = {}
    for name, model in {"plain": plain, "merged": merged}.items():
        architect = Architect(model, learning_rate=0.01, weight_decay=1e-3)
        optimizer = torch.optim.SGD(model.weight_parameters(), 0.02, momentum=0.9)
        for batch in images:
            architect.step(batch.flip(0), labels.flip(0))
            weight_step(model, optimizer, batch, labels, gradient_clip=1.0)
        names = {parameter: key for key, parameter in model.named_parameters()}
        momenta = {names[p]: state["momentum_buffer"] for p, state in optimizer.state.items()}
        averages = {
            f"{names[p]} {key}": state[key]
            for p, state in architect.optimizer.state.items()
            for key in ("exp_avg", "exp_avg_sq")
        }
        states[name] = model.state_dict(), momenta, averages
    for theirs, ours in zip(states["plain"], states["merged"], strict=True):
        _assert_same(to_plain(ours), theirs)
    assert merged.genotype() == plain.genotype()


def test_merged_weights_start_with_the_spread_of_the_plain_ones() -> None:
    torch.manual_seed(0)
    plain, merged = PlainSupernet(5, 16, 5, 4), Supernet(5, 16, 5, 4)
    expected = to_merged(plain.state_dict())
    for name, value in merged.named_parameters():
        if value.numel() >= 256 and "architecture" not in name:
            assert value.std().item() == pytest.approx(expected[name].std().item(), rel=0.2), name


def test_an_iteration_dispatches_few_operations() -> None:
    """Of the CIFAR search: C = 16, 8 cells, K = 4. The public reference dispatches about 33,000."""
    model = Supernet(10).to(memory_format=torch.channels_last)
    architect = Architect(model, 6e-4, 1e-3)
    optimizer = make_sgd(model.weight_parameters(), 0.1, momentum=0.9, weight_decay=3e-4)
    images, labels = torch.randn(2, 3, 8, 8), torch.arange(2)
    for counted in (
        OperationCounter(),
        OperationCounter(),
    ):  # the first makes the optimizers' states
        with counted:
            architect.step(images, labels)
            weight_step(model, optimizer, images, labels, gradient_clip=5.0)
    assert 6_000 < counted.operations - counted.views <= 8_500

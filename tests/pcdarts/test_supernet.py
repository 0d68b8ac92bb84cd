import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pcdarts.supernet import Supernet
from tests.pcdarts.plain_supernet import PlainSupernet, merge


class CountOperations(TorchDispatchMode):
    """Counts what is dispatched inside the block, views included."""

    number = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.number += 1
        return operation(*args, **(kwargs or {}))


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


@pytest.mark.parametrize("side", [8, 11])
@pytest.mark.parametrize("partial", [1, 2, 4])
def test_merging_changes_neither_logits_nor_gradients_nor_statistics(
    side: int, partial: int
) -> None:
    """Against the plain supernet in float64, where rounding hides nothing."""
    generator = torch.Generator().manual_seed(0)
    plain = PlainSupernet(5, channels=8, cells=5, partial=partial).double()
    for parameter in plain.architecture_parameters():
        parameter.data.normal_(generator=generator)
    merged = Supernet(5, channels=8, cells=5, partial=partial).double()
    merged.load_state_dict(merge(plain.state_dict(), 5))
    images = torch.randn(3, 3, side, side, generator=generator, dtype=torch.float64)
    for model in (plain, merged):
        F.cross_entropy(model.train()(images), torch.arange(3)).backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    expected = merge(plain.state_dict() | gradients, 5)
    for name, parameter in merged.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-9, atol=1e-12)
    expected = merge(plain.state_dict(), 5)  # now with the running statistics of the forward pass
    for name, value in merged.state_dict().items():
        if name.endswith("num_batches_tracked"):  # read by no BatchNorm that has a momentum
            continue
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(merged.eval()(images), plain.eval()(images), rtol=1e-9, atol=1e-12)


def test_merged_weights_start_with_the_spread_of_the_plain_ones() -> None:
    torch.manual_seed(0)
    plain, merged = PlainSupernet(5, 16, 5, 4), Supernet(5, 16, 5, 4)
    expected = merge(plain.state_dict(), 5)
    for name, value in merged.named_parameters():
        if value.numel() >= 256 and "architecture" not in name:
            assert value.std().item() == pytest.approx(expected[name].std().item(), rel=0.2), name


def test_the_architecture_step_dispatches_less_than_half_of_the_plain_operations() -> None:
    def operations(model: torch.nn.Module) -> int:
        with CountOperations() as counted:
            loss = F.cross_entropy(model(images), torch.arange(2))
            loss.backward(inputs=model.architecture_parameters())
        return counted.number

    images = torch.randn(2, 3, 8, 8)
    plain, merged = PlainSupernet(5, 8, 5, 4), Supernet(5, 8, 5, 4)
    assert operations(merged) < operations(plain) / 2

import torch
import torch.nn.functional as F

from pcdarts.architect import Architect
from pcdarts.supernet import Supernet


def _setting() -> tuple[Supernet, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = Supernet(5, channels=4, cells=3, partial=4)
    return model, torch.randn(6, 3, 8, 8), torch.arange(6) % 5


def test_a_step_moves_alpha_and_beta_alone() -> None:
    model, images, labels = _setting()
    weights = [weight.detach().clone() for weight in model.weight_parameters()]
    architecture = [part.detach().clone() for part in model.architecture_parameters()]
    Architect(model, 6e-4, 1e-3).step(images, labels)
    for part, before in zip(model.architecture_parameters(), architecture, strict=True):
        assert not torch.equal(part, before)
    for weight, before in zip(model.weight_parameters(), weights, strict=True):
        assert torch.equal(weight, before)
        assert weight.grad is None


def test_the_gradient_is_that_of_the_whole_loss() -> None:
    model, images, labels = _setting()
    expected = torch.autograd.grad(
        F.cross_entropy(model(images), labels), model.architecture_parameters()
    )
    Architect(model, 6e-4, 0.0).step(images, labels)
    for part, gradient in zip(model.architecture_parameters(), expected, strict=True):
        torch.testing.assert_close(part.grad, gradient)


def test_the_first_adam_step_is_as_long_as_the_learning_rate() -> None:
    model, images, labels = _setting()
    before = model.betas_normal.detach().clone()
    Architect(model, 6e-4, 1e-3).step(images, labels)
    moved = (model.betas_normal - before).abs()
    torch.testing.assert_close(moved, torch.full((14,), 6e-4), rtol=1e-2, atol=0)


def test_a_clip_limits_the_norm_of_the_gradients_of_alpha_and_beta_together() -> None:
    model, images, labels = _setting()
    Architect(model, 6e-4, 0.0).step(images, labels)
    free = [part.grad.clone() for part in model.architecture_parameters()]
    norm = torch.cat([gradient.flatten() for gradient in free]).norm()
    for share in (0.1, 10.0):
        model, images, labels = _setting()
        Architect(model, 6e-4, 0.0, gradient_clip=share * float(norm)).step(images, labels)
        for part, gradient in zip(model.architecture_parameters(), free, strict=True):
            torch.testing.assert_close(part.grad, gradient * min(1.0, share))

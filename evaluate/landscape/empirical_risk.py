"""The mean loss over given images as a function of the weights.

BatchNorm is in eval mode, with the running statistics of training, at all weights, as in the plots
of Li et al. 2018 and in PyHessian (Yao et al. 2020). The loss is therefore a mean over single
images, and the network is not modified.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from classification.data.loaders import Images
from classification.training.step import count, logits_of
from classification.training.trainer import evaluating

BATCH_NORM = "eval mode with the running statistics of training"

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Risk:
    """Mean loss, nats, and the fraction of images classified correctly."""

    loss: float
    accuracy: float


class NormalizedBatches:
    """Repeatable batches (normalised images [B, 3, H, W], labels [B]) without augmentation."""

    def __init__(
        self,
        images: Images,
        normalize: Callable[[Tensor], Tensor],
        batch_size: int,
        device: torch.device,
    ) -> None:
        self._loader = images.loader(batch_size, device, training=False)
        self._normalize = normalize

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._loader.batches():
            yield self._normalize(images), labels


class EmpiricalRisk:
    """The risk of `model` on `batches` of (inputs, targets), always the same `num_images`.

    `objective` maps (logits, targets) to a batch's mean. `weights` are the parameters with a
    gradient, by their names in `module`: not frozen ones, nor those of an auxiliary head, which is
    unused in eval mode. Raises ValueError if there are none.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        num_images: int,
        objective: nn.Module | None = None,
    ) -> None:
        self.module: nn.Module = _Logits(model)
        self.batches, self.num_images = batches, num_images
        self.objective = nn.CrossEntropyLoss() if objective is None else objective
        self.parameters = self._reached()

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's weights, not copied: do not modify them."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def at(self, weights: dict[str, Tensor]) -> Risk:
        """Compute the risk with `weights` in place of the model's, which are not modified."""
        totals = []
        with evaluating(self.module):
            for inputs, targets in self.batches:
                logits = functional_call(self.module, weights, (inputs,))
                totals.append(count(self.objective(logits, targets), logits, targets))
        # Summed on the host in float64, so that batches need no synchronisation.
        losses, correct, _ = torch.stack(totals).double().cpu().T.tolist()
        return Risk(_sum(losses) / self.num_images, sum(correct) / self.num_images)

    def _reached(self) -> dict[str, nn.Parameter]:
        named = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        inputs, targets = next(iter(self.batches))
        with evaluating(self.module), torch.enable_grad():
            loss = self.objective(self.module(inputs), targets)
            if not loss.requires_grad:
                raise ValueError("the model has no weight with a gradient; allowed: at least one")
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        found = zip(named.items(), gradients, strict=True)
        return {name: weight for (name, weight), gradient in found if gradient is not None}


class _Logits(nn.Module):
    """Returns only the main logits of a network, without auxiliary outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # A new module is in training mode, and `evaluating` restores the mode that it finds.
        self.training = model.training

    def forward(self, inputs: Tensor) -> Tensor:
        return logits_of(self.model(inputs))


def _sum(losses: list[float]) -> float:
    """Return the exact sum, or NaN if a value is not finite."""
    return math.fsum(losses) if all(map(math.isfinite, losses)) else math.nan

"""The mean loss over given images as a function of the weights.

BatchNorm is in eval mode, with the running statistics that training left, wherever the weights are
moved: as Li et al. 2018 do for their plots, and PyHessian (Yao et al. 2020) for curvature. So the
loss is the mean of what single images give, and nothing of the network changes.
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
    """Mean loss, nats, and the share of images classified rightly."""

    loss: float
    accuracy: float


class NormalizedBatches:
    """(normalised images [B, 3, H, W], labels [B]) without augmentation, as often as asked for."""

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
    """The risk of `model` on `batches`, which give the same `num_images` (inputs, targets) always.

    `objective` takes (logits, targets) to a batch's mean. `weights` are those that a gradient of
    the loss reaches, by the names they have in `module`: neither frozen ones nor those of an
    auxiliary head, which eval mode leaves out. Raises ValueError if there are none.
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
        """The model's own, not copied: for reading."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def at(self, weights: dict[str, Tensor]) -> Risk:
        """The risk with these in place of the model's weights, which stay as they are."""
        totals = []
        with evaluating(self.module):
            for inputs, targets in self.batches:
                logits = functional_call(self.module, weights, (inputs,))
                totals.append(count(self.objective(logits, targets), logits, targets))
        # Added up on the host, so that no batch waits for another and no digit is lost.
        losses, correct, _ = torch.stack(totals).double().cpu().T.tolist()
        return Risk(_sum(losses) / self.num_images, sum(correct) / self.num_images)

    def _reached(self) -> dict[str, nn.Parameter]:
        named = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        inputs, targets = next(iter(self.batches))
        with evaluating(self.module), torch.enable_grad():
            loss = self.objective(self.module(inputs), targets)
            if not loss.requires_grad:
                raise ValueError("no weight of the model has a gradient; allowed: at least one")
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        found = zip(named.items(), gradients, strict=True)
        return {name: weight for (name, weight), gradient in found if gradient is not None}


class _Logits(nn.Module):
    """The main logits alone, whatever else a network returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # A module of its own is in training mode, and `evaluating` is to leave no trace.
        self.training = model.training

    def forward(self, inputs: Tensor) -> Tensor:
        return logits_of(self.model(inputs))


def _sum(losses: list[float]) -> float:
    """Exact, and not a number where one is none or infinite."""
    return math.fsum(losses) if all(map(math.isfinite, losses)) else math.nan

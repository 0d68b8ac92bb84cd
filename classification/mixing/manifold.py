"""Manifold Mixup (Verma et al. 2019): Mixup of the images or of hidden feature maps."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from classification.mixing.dirichlet import add_up
from classification.mixing.mixer import DirichletMixer, Mix, all_to_first


class ManifoldMixup(DirichletMixer):
    """Weighted sums of two samples' maps at a depth drawn for each batch, and of their labels.

    Depth 0 is the images; depth i is the input of `stages[i - 1]`, mixed by a hook that acts once,
    on the next forward pass in training mode. So the images that `__call__` returns are mixed only
    if depth 0 was drawn, but the targets always are: the model must be given this batch next. The
    depth is drawn on the device and all depths are mixed, with weights that have no effect except
    at the drawn one, so that the CPU never waits. For this project's networks `stages` are
    `model.stages[1:3]`: with the images the set {0, 1, 2} of the paper's residual networks.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        alpha: float = 1.0,
        prob: float = 1.0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(2, alpha, prob, num_classes)
        self.stages = tuple(stages)
        self._handles: list[RemovableHandle] = []

    def _mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """As `BatchMixer.mix`; also arms the stages for the batch's forward pass."""
        fractions = self._draw_fractions(images, generator)
        partners = self._draw_partners(images, generator)
        device = images.device
        depth = torch.randint(len(self.stages) + 1, (), generator=generator, device=device)
        at_depth = [
            torch.where(depth == place, fractions, all_to_first(fractions))
            for place in range(len(self.stages) + 1)
        ]
        for handle in self._handles:  # of a batch that was not passed to the model
            handle.remove()
        self._handles.clear()
        for stage, weights in zip(self.stages, at_depth[1:], strict=True):
            self._arm(stage, partners, weights)
        targets = self._targets(labels, partners, fractions)
        return Mix(add_up(images, partners, at_depth[0]), targets, partners, fractions)

    def _arm(self, stage: nn.Module, partners: Tensor, weights: Tensor) -> None:
        def mix_once(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not module.training:
                return None
            handle.remove()
            return (_blend(inputs[0], partners[:, 1], weights[:, 1]), *inputs[1:])

        hook: Callable[..., Any] = mix_once
        handle = stage.register_forward_pre_hook(hook)
        self._handles.append(handle)


def _blend(maps: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
    """Move maps [N, C, H, W] by `weights` [N] towards their `partners`' [N], in float32."""
    weights = weights.view(-1, 1, 1, 1).to(torch.promote_types(maps.dtype, torch.float32))
    return torch.lerp(maps.to(weights.dtype), maps[partners].to(weights.dtype), weights).to(
        maps.dtype
    )

"""Cutout (DeVries & Taylor 2017): what mixers are compared with, though it mixes nothing."""

import torch
from torch import Tensor

from classification.errors import ConfigError
from classification.mixing.mixer import BatchMixer, Mix
from classification.transforms import cutout


class Cutout(BatchMixer):
    """Blanks a square of `side` pixels, centred anywhere and clipped; the label stays whole.

    Blank is 0: the mean, where images are normalised. Images keep their type.
    Raises ConfigError if `side` is not above 0.
    """

    def __init__(self, side: int, prob: float = 1.0, num_classes: int | None = None) -> None:
        super().__init__(prob, num_classes)
        if side < 1:
            raise ConfigError(f"mixing.side: found {side}; allowed: 1 pixel or more")
        self.side = side

    def mix(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Mix:
        """As `BatchMixer.mix`, each image its own only partner."""
        blanked = cutout(images, self.side, generator)
        if self.prob < 1:
            mixed = torch.rand((), generator=generator, device=images.device) < self.prob
            blanked = torch.where(mixed, blanked, images)
        partners = torch.arange(len(images), device=images.device)[:, None]
        weights = torch.ones(partners.shape, device=images.device)
        return Mix(blanked, self._targets(labels, partners, weights), partners, weights)

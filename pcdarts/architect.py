"""The architecture step: Adam on α and β, first order (Liu et al. 2019, Eq. 6 with ξ = 0)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from classification.acceleration import Precision, autocast
from classification.training.step import part_of_mean
from classification.world import ALONE, World
from pcdarts.supernet import Supernet

_BETAS = (0.5, 0.999)  # of Adam, not of the edges


class Architect:
    """Trains α and β on images that do not train the weights.

    `gradient_clip` is the largest norm of their gradients together; None: any.
    """

    def __init__(
        self,
        model: Supernet,
        learning_rate: float,
        weight_decay: float,
        precision: Precision = "fp32",
        gradient_clip: float | None = None,
    ) -> None:
        self.model, self.precision = model, precision
        self._gradient_clip = gradient_clip
        self.optimizer = torch.optim.Adam(
            model.architecture_parameters(),
            lr=learning_rate,
            betas=_BETAS,
            weight_decay=weight_decay,
            capturable=model.betas_normal.is_cuda,
        )

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        world: World = ALONE,
        global_batch: int | None = None,
    ) -> Tensor:
        """Update α and β on normalised images [N, 3, H, W]; returns the loss before, on the device.

        Only the gradients of α and β are computed; those of the weights do not change. In a `world`
        of several processes the images are the local part of `global_batch` images, and the step is
        that of the global batch; the loss is local.
        """
        with autocast(self.precision, images.device):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        parameters = self.model.architecture_parameters()
        part_of_mean(loss, len(labels), global_batch or len(labels)).backward(inputs=parameters)
        world.sum_gradients(parameters)
        if self._gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, self._gradient_clip, foreach=True)
        self.optimizer.step()
        return loss.detach()

"""Adversarial images under L∞: FGSM and PGD, by ART (Nicolae et al. 2018).

FGSM moves every pixel by ε along the sign of the loss's gradient (Goodfellow et al. 2015, section
4). PGD takes small steps from a random start and stays within ε of the image (Madry et al. 2018,
section 2.1). FGSM alone can miss a weakness when gradients are masked.

ART keeps images as numpy arrays between attacks; the steps of an attack stay on the device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classification.data.transforms import Normalization
from classification.seeding import seeded
from classification.seeds import derive_seed
from classification.training.step import logits_of
from classification.training.trainer import evaluating
from evaluate.robustness.config import Attack


class PixelModel(nn.Module):
    """A classifier of pixels in [0, 1], which includes the normalisation of its training."""

    def __init__(self, model: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.model, self._normalization = model, normalization

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels float32 [N, 3, H, W] in [0, 1] to logits [N, L]."""
        logits: Tensor = logits_of(self.model(self._normalization(pixels * 255)))
        return logits

    @torch.no_grad()
    def predict(self, pixels: Tensor) -> Tensor:
        """Return the classes int64 [N], on the CPU, of pixels [N, 3, H, W] on any device."""
        return self(pixels.to(self.device)).argmax(1).cpu()

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


class Attacker:
    """Attacks on one model, which must be `untouched` meanwhile: ART sets modes and gradients."""

    def __init__(self, model: PixelModel, num_classes: int, image_size: int) -> None:
        # Imported here, because ART is an optional dependency.
        from art.estimators.classification import PyTorchClassifier  # type: ignore[import-untyped]

        self._model, self._num_classes = model, num_classes
        device = model.device
        with torch.cuda.device(device if device.type == "cuda" else -1):  # -1: as it is
            self._estimator = PyTorchClassifier(
                model,
                loss=nn.CrossEntropyLoss(),
                input_shape=(3, image_size, image_size),
                nb_classes=num_classes,
                clip_values=(0.0, 1.0),
                device_type="gpu" if device.type == "cuda" else "cpu",
            )

    def attack(
        self, pixels: Tensor, labels: Tensor, attack: Attack, seed: int, *place: int
    ) -> Tensor:
        """Return adversarial images of `pixels`, both float32 [N, 3, H, W] in [0, 1] on the CPU.

        `labels` int64 [N] are the true classes; the attack is untargeted. No pixel moves by more
        than ε, up to float32 rounding. PGD's starts depend on `seed` and `place`, and are the same
        for all ε. A restart attacks the images that the model still classifies correctly.
        """
        one_hot = np.eye(self._num_classes, dtype=np.float32)[labels.numpy()]
        images = pixels.numpy()
        with _seeded(seed, place, self._model.device):
            found = self._generate(images, one_hot, attack)
            for _ in range(attack.restarts - 1 if attack.name == "pgd" else 0):
                standing = (self._model.predict(torch.from_numpy(found)) == labels).numpy()
                if not standing.any():
                    break
                found[standing] = self._generate(images[standing], one_hot[standing], attack)
        return torch.from_numpy(found)

    def _generate(
        self, images: NDArray[np.float32], one_hot: NDArray[np.float32], attack: Attack
    ) -> NDArray[np.float32]:
        from art.attacks.evasion import (  # type: ignore[import-untyped]
            FastGradientMethod,
            ProjectedGradientDescent,
        )

        common: dict[str, Any] = {
            "norm": np.inf,
            "eps": attack.epsilon,
            "batch_size": len(images),
        }
        if attack.name == "fgsm":
            method = FastGradientMethod(self._estimator, **common)
        else:
            method = ProjectedGradientDescent(
                self._estimator,
                eps_step=min(attack.step, attack.epsilon),
                max_iter=attack.steps,
                num_random_init=1,
                verbose=False,
                **common,
            )
        # ART projects last, which can move a pixel out of [0, 1] by rounding.
        return np.clip(method.generate(images, one_hot), 0, 1)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Set the model to eval mode without gradients of its weights, and restore it afterwards."""
    kept = [
        (parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()
    ]
    with evaluating(model):
        for parameter, _, _ in kept:
            parameter.requires_grad_(False).grad = None
        try:
            yield
        finally:
            for parameter, required, gradient in kept:
                parameter.requires_grad_(required).grad = gradient


@contextmanager
def _seeded(seed: int, place: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Seed torch and numpy's global generator, from which ART draws PGD's starts; restore both."""
    state = np.random.get_state()  # noqa: NPY002
    with seeded(seed, "attack", *place, device=device):
        np.random.seed(derive_seed(seed, "attack-starts", *place) % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002

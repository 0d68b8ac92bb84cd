"""Settings of mixing: the kinds of mixers, their defaults, and their construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, model_validator

from classification.acceleration import Precision
from classification.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from classification.data.transforms import Normalization
    from classification.mixing.comixup import CoMixup
    from classification.mixing.mixer import BatchMixer

MAX_IMAGES = 255  # in a mix: an owner map is uint8
_DEFAULT_NUM_IMAGES = 5
_DEFAULT_SIDE = 16
_ANY_NUMBER = ("dmixup", "dcutmix", "saliency_dcutmix")  # of images in a mix
_NO_FRACTIONS = ("none", "cutout")
_DEFAULT_ALPHA = {"comixup": 2.0}
_ON_CPU = ("puzzlemix", "comixup")
_OF_A_MODEL = ("manifold_mixup", "puzzlemix", "comixup")

Kind = Literal[
    "none",
    "cutout",
    "mixup",
    "cutmix",
    "manifold_mixup",
    "puzzlemix",
    "comixup",
    "dmixup",
    "dcutmix",
    "saliency_dcutmix",
]


_NAMES: dict[Kind, str] = {
    "none": "no mixing",
    "cutout": "Cutout",
    "mixup": "Mixup",
    "cutmix": "CutMix",
    "manifold_mixup": "Manifold Mixup",
    "puzzlemix": "PuzzleMix",
    "comixup": "Co-Mixup",
    "dmixup": "DMixup",
    "dcutmix": "DCutMix",
    "saliency_dcutmix": "Saliency-DCutMix",
}


@dataclass(frozen=True)
class MixingContext:
    """What some mixers need from a training in addition to the batch.

    `normalization` is inverted to get pixels; `model` gives gradients and takes hooks.
    """

    normalization: Normalization
    model: nn.Module
    stages: Sequence[nn.Module]
    """Stages whose inputs Manifold Mixup can mix."""
    precision: Precision = "fp32"


class MixingConfig(BaseModel, frozen=True, extra="forbid"):
    """The mixer and its parameters; the defaults are the paper's for PyramidNet-110, CIFAR-100.

    Published for DCutMix (Jeong et al. 2023): PyramidNet-110, CIFAR-100: K = 5, α = 0.2, prob 1;
    PyramidNet-200, CIFAR-100: K = 5, α = 1, prob 0.5; PyramidNet-200, CIFAR-10: K = 3, α = 1/3,
    prob 1; ResNet-50, ImageNet: K = 3, α = 1/3. CutMix (Yun et al. 2019), CIFAR: α = 1, prob 0.5.
    """

    kind: Kind = Field("dcutmix", description="mixer; none trains on unmixed images")
    num_images: int | None = Field(
        None,
        ge=2,
        le=MAX_IMAGES,
        description="images in a mix, K; only for dmixup, dcutmix and saliency_dcutmix. "
        "Published: 5 for CIFAR-100, 3 for CIFAR-10 and ImageNet; 5 if left out",
    )
    alpha: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="parameter of the symmetric Dirichlet (of two images: Beta) distribution of "
        "the fractions; not for none and cutout. Published: 0.2 (PyramidNet-110) and 1 "
        "(PyramidNet-200) for CIFAR-100, 1/3 for CIFAR-10 and ImageNet. If left out: 1/K for K "
        "images, 2 for comixup, 1 for the others",
    )
    prob: float = Field(
        1.0,
        ge=0,
        le=1,
        description="probability that a batch is mixed. Published: 1, and 0.5 for PyramidNet-200 "
        "on CIFAR-100 and for CutMix on CIFAR",
    )
    side: int | None = Field(
        None,
        gt=0,
        description="side of cutout's square, pixels. Published (DeVries & Taylor 2017): "
        "16 for CIFAR-10, 8 for CIFAR-100; 16 if left out",
    )

    @model_validator(mode="after")
    def _applicable(self) -> MixingConfig:
        if self.num_images is not None and self.kind not in _ANY_NUMBER:
            raise ValueError(
                f"num_images {self.num_images} cannot be used with kind {self.kind}; "
                f"allowed: only with {', '.join(_ANY_NUMBER)}"
            )
        if self.alpha is not None and self.kind in _NO_FRACTIONS:
            raise ValueError(
                f"alpha cannot be used with kind {self.kind}; allowed: only with a mixer"
            )
        if self.side is not None and self.kind != "cutout":
            raise ValueError(
                f"side cannot be used with kind {self.kind}; allowed: only with cutout"
            )
        return self

    def describe(self) -> str:
        """Return the mixer and its settings in words: "DCutMix, K = 5, α = 0.2"."""
        parts = [_NAMES[self.kind]]
        if self.kind in _ANY_NUMBER:
            parts.append(f"K = {self._number}")
        if self.kind not in _NO_FRACTIONS:
            parts.append(f"α = {self._alpha:.3g}")
        if self.kind == "cutout":
            parts.append(f"{self.side or _DEFAULT_SIDE} pixels")
        if self.prob < 1 and self.kind != "none":
            parts.append(f"probability {self.prob:g}")
        return ", ".join(parts)

    @property
    def mixes_any_number(self) -> bool:
        """Whether the kind uses `num_images`."""
        return self.kind in _ANY_NUMBER

    @property
    def _number(self) -> int:
        return self.num_images or _DEFAULT_NUM_IMAGES

    @property
    def _alpha(self) -> float:
        if self.alpha is not None:
            return self.alpha
        return 1 / self._number if self.kind in _ANY_NUMBER else _DEFAULT_ALPHA.get(self.kind, 1.0)

    @property
    def needs_model(self) -> bool:
        """Whether the mixer uses the gradients or feature maps of the trained network."""
        return self.kind in _OF_A_MODEL

    @property
    def capturable(self) -> bool:
        """Whether a training step with the mixer never waits for the CPU."""
        return self.kind not in _ON_CPU

    def check(self) -> None:
        """Raise ConfigError if a library that the mixer needs is not installed."""
        if self.kind == "comixup":
            _comixup()

    def build(
        self, num_classes: int, mixing_context: MixingContext | None = None
    ) -> BatchMixer | None:
        """Return the mixer, for integer labels below `num_classes`; None for kind none.

        Without `mixing_context` images are taken as pixels in [0, 255]; raises ValueError if the
        mixer needs a model.
        """
        from classification.mixing.manifold import ManifoldMixup  # slow to import: torch
        from classification.mixing.pairwise import CutMix, Cutout, Mixup

        if self.kind == "none":
            return None
        if self.kind == "cutout":
            return Cutout(self.side or _DEFAULT_SIDE, self.prob, num_classes)
        if self.kind in _ANY_NUMBER:
            return self._build_for_any_number(num_classes, mixing_context)
        if not self.needs_model:
            pairwise = Mixup if self.kind == "mixup" else CutMix
            return pairwise(self._alpha, self.prob, num_classes)
        if mixing_context is None:
            raise ValueError(f"mixing.kind {self.kind} needs the model that is trained")
        if self.kind == "manifold_mixup":
            return ManifoldMixup(mixing_context.stages, self._alpha, self.prob, num_classes)
        from classification.mixing.saliency import GradientSaliency

        saliency = GradientSaliency(mixing_context.model, mixing_context.precision)
        if self.kind == "comixup":
            return _comixup()(saliency, self._alpha, self.prob, num_classes)
        from classification.mixing.puzzlemix import PuzzleMix  # slow to import: scipy

        pixels = mixing_context.normalization.invert
        return PuzzleMix(saliency, pixels, self._alpha, self.prob, num_classes)

    def _build_for_any_number(
        self, num_classes: int, mixing_context: MixingContext | None
    ) -> BatchMixer:
        from classification.mixing.dirichlet import DCutMix, DMixup, SaliencyDCutMix

        settings = (self._number, self._alpha, self.prob, num_classes)
        if self.kind != "saliency_dcutmix":
            return (DMixup if self.kind == "dmixup" else DCutMix)(*settings)
        if mixing_context is None:
            return SaliencyDCutMix(*settings)
        from classification.mixing.saliency import PixelSaliency

        return SaliencyDCutMix(*settings, saliency=PixelSaliency(mixing_context.normalization))


def _comixup() -> type[CoMixup]:
    """Return Co-Mixup's class. Raises ConfigError without PyMaxflow (optional: it is GPL)."""
    try:
        from classification.mixing.comixup import CoMixup
    except ImportError as error:
        raise ConfigError(
            "mixing.kind: comixup needs PyMaxflow (GPL), which is not installed; "
            "pip install -c constraints.txt PyMaxflow, or choose another kind"
        ) from error
    return CoMixup

"""Which mixer a training uses."""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from classification.mixing.dirichlet import DCutMix, DMixup
from classification.mixing.mixer import MAX_IMAGES, Mixer
from classification.mixing.pairwise import CutMix, Mixup

_DEFAULT_NUM_IMAGES = 5


class MixingConfig(BaseModel, frozen=True, extra="forbid"):
    """The mixer and its parameters; the defaults are the paper's for PyramidNet-110, CIFAR-100.

    Published for DCutMix (Jeong et al. 2023): PyramidNet-110, CIFAR-100: K = 5, α = 0.2, prob 1;
    PyramidNet-200, CIFAR-100: K = 5, α = 1, prob 0.5; PyramidNet-200, CIFAR-10: K = 3, α = 1/3,
    prob 1; ResNet-50, ImageNet: K = 3, α = 1/3. CutMix (Yun et al. 2019), CIFAR: α = 1, prob 0.5.
    """

    kind: Literal["none", "mixup", "cutmix", "dmixup", "dcutmix"] = Field(
        "dcutmix", description="mixer; none trains on unmixed images"
    )
    num_images: int | None = Field(
        None,
        ge=2,
        le=MAX_IMAGES,
        description="images in a mix, K; only for dmixup and dcutmix. "
        "Published: 5 for CIFAR-100, 3 for CIFAR-10 and ImageNet; 5 if left out",
    )
    alpha: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="parameter of the symmetric Dirichlet (of two images: Beta) distribution of "
        "the fractions; not for none. Published: 0.2 (PyramidNet-110) and 1 (PyramidNet-200) for "
        "CIFAR-100, 1/3 for CIFAR-10 and ImageNet. If left out: 1/K, and 1 for mixup and cutmix",
    )
    prob: float = Field(
        1.0,
        ge=0,
        le=1,
        description="probability that a batch is mixed. Published: 1, and 0.5 for PyramidNet-200 "
        "on CIFAR-100 and for CutMix on CIFAR",
    )

    @model_validator(mode="after")
    def _applicable(self) -> "MixingConfig":
        if self.num_images is not None and self.kind not in ("dmixup", "dcutmix"):
            raise ValueError(
                f"num_images {self.num_images} has no meaning for kind {self.kind}; "
                "allowed: only with dmixup or dcutmix"
            )
        if self.alpha is not None and self.kind == "none":
            raise ValueError("alpha has no meaning for kind none; allowed: only with a mixer")
        return self

    def build(self, num_classes: int) -> Mixer | None:
        """The mixer, for integer labels below `num_classes`; None for kind none."""
        if self.kind == "none":
            return None
        if self.kind in ("mixup", "cutmix"):
            pairwise = Mixup if self.kind == "mixup" else CutMix
            return pairwise(self.alpha or 1.0, self.prob, num_classes)
        num_images = self.num_images or _DEFAULT_NUM_IMAGES
        dirichlet = DMixup if self.kind == "dmixup" else DCutMix
        return dirichlet(num_images, self.alpha or 1 / num_images, self.prob, num_classes)

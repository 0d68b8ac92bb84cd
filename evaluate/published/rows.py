"""Types for rows of the paper's Tables 1 to 3, and the setting that trains each of them.

The rows are in `evaluate.published.error_rates`.
"""

from dataclasses import dataclass
from typing import Literal

from classification.config import ClassifierConfig
from classification.mixing import MixingConfig

Dataset = Literal["cifar10", "cifar100", "imagenet"]

# Classes, training images, side in pixels.
_DATASETS: dict[Dataset, tuple[int, int, int]] = {
    "cifar10": (10, 50_000, 32),
    "cifar100": (100, 50_000, 32),
    "imagenet": (1000, 1_281_167, 224),
}


@dataclass(frozen=True)
class Setting:
    """The settings in which rows of Tables 1 to 3 differ: the mixer and the regularisers."""

    mixing: MixingConfig
    label_smoothing: float = 0.0
    stochastic_depth: float = 0.0
    drop_block: float = 0.0
    drop_block_size: int = 7

    @classmethod
    def of(cls, scorer: ClassifierConfig) -> "Setting":
        return cls(
            scorer.mixing,
            scorer.label_smoothing,
            scorer.stochastic_depth,
            scorer.drop_block,
            scorer.drop_block_size,
        )

    @property
    def is_vanilla(self) -> bool:
        """Whether there is no mixing and no regulariser except weight decay."""
        return self.mixing.kind == "none" and self.regularisers == "none"

    @property
    def regularisers(self) -> str:
        """Description, such as "label smoothing 0.1, stochastic depth 0.25", or "none"."""
        parts = [
            f"{name} {value:g}"
            for name, value in (
                ("label smoothing", self.label_smoothing),
                ("stochastic depth", self.stochastic_depth),
            )
            if value
        ]
        if self.drop_block:
            parts.append(f"DropBlock {self.drop_block:g} in blocks of {self.drop_block_size}")
        return ", ".join(parts) or "none"

    def describe(self) -> str:
        """Return a text such as "DCutMix, K = 5, α = 0.2" or "no mixing, label smoothing 0.1"."""
        mixing = self.mixing.describe()
        return mixing if self.regularisers == "none" else f"{mixing}, {self.regularisers}"

    def same_as(self, other: "Setting") -> bool:
        """Return whether the descriptions are equal: values are compared to three digits."""
        return self.describe() == other.describe()


@dataclass(frozen=True)
class PublishedError:
    """One row as printed in the paper; errors in percent, None if not printed."""

    method: str
    """As printed, without the network, which is in the table's title."""
    top1_error: float
    setting: Setting | None = None
    """The setting that trains it here; None for methods that are not implemented."""
    difference: float | None = None
    """From the table's first row, percentage points, as printed."""
    top5_error: float | None = None
    training_time: float | None = None
    """Ratio to the table's first row."""


@dataclass(frozen=True)
class PublishedTable:
    """The rows of one table for one network on one dataset. The first is vanilla, except in the
    table that varies K."""

    name: str
    network: str
    """As printed."""
    model: str
    """The value of `scorer.model`."""
    dataset: Dataset
    epochs: int
    """For every row: from Yun et al. 2019, and for Table 2 from the recipe it follows."""
    rows: tuple[PublishedError, ...]
    parameters_millions: float | None = None
    note: str = ""
    """The source of rows that are not the paper's own, and what the paper does not state."""

    def row_of(self, setting: Setting) -> PublishedError | None:
        """Return the row that a setting trains, or None."""
        rows = (row for row in self.rows if row.setting and row.setting.same_as(setting))
        return next(rows, None)


def published_dataset(
    name: str, num_classes: int, num_train: int, image_size: int
) -> Dataset | None:
    """Return the paper's dataset that this is, complete and at its image size, or None."""
    found = (num_classes, num_train, image_size)
    return next((d for d, size in _DATASETS.items() if d in name.lower() and size == found), None)


NETWORK, DATASET = "ResNet-50", "ImageNet"
"""Of both Tables 4 and 5."""

FIGURE_3 = (
    "The paper's Figure 3 (PyramidNet, CIFAR-100's test images) has no numbers. Its text states "
    "that DCutMix has the widest landscape and lower losses, and that under Gaussian noise DCutMix "
    "and DMixup have the widest and lowest curves, compared with CutMix and Mixup."
)
"""Section IV-A.1.b."""


@dataclass(frozen=True)
class PublishedShift:
    """One row of Table 4: area under the precision-recall curve on ImageNet-O, percent."""

    method: str
    aupr: float


@dataclass(frozen=True)
class PublishedRobustness:
    """One row of Table 5: top-1 accuracies, percent; ε = 8/255 under L∞ in the first three."""

    method: str
    white_box_fgsm: float
    gray_box_pgd: float
    black_box_pgd: float
    imagenet_a: float


TABLE_4 = (
    PublishedShift("Vanilla", 16.96),
    PublishedShift("Mixup", 16.30),
    PublishedShift("DMixup", 16.87),
    PublishedShift("CutMix", 15.85),
    PublishedShift("DCutMix", 16.73),
    PublishedShift("Saliency-DCutMix", 16.00),
)

TABLE_5 = (
    PublishedRobustness("ResNet-50 (Baseline)", 14.34, 40.74, 46.01, 3.38),
    PublishedRobustness("+ CutMix", 40.89, 43.38, 51.06, 7.46),
    PublishedRobustness("+ DCutMix (K = 3, α = 1/3)", 32.90, 43.63, 51.73, 5.84),
    PublishedRobustness("+ Saliency-DCutMix (K = 3, α = 1/3)", 41.37, 44.27, 51.91, 7.69),
)

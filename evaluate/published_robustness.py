"""The paper's Tables 4 and 5, and what it says of Figure 3 (Jeong et al., "Observations on K-image
Expansion of Image-Mixing Augmentation", IEEE Access 2023). None of it is measured here; whatever
shows it says so.

What the paper leaves open, or says otherwise than its tables:

- K and α of Table 4's rows are not printed, nor are the attacks' steps, step and restarts (section
  IV-A.2.b has FGSM and PGD under L∞ at ε = 8 of 255 alone). No row's clean accuracy is printed.
- Section IV-A.2.a says that vanilla has the best AUPR, by which all the others are overconfident;
  DMixup lies 0.09 percentage points below it, over one training each.
- Section IV-A.2.b says that DCutMix is more robust than CutMix against gray- and black-box attacks.
  By Table 5 that is 0.25 and 0.67 percentage points, and 7.99 less under the white-box one.
- Figure 3 has curves and no numbers.
"""

from dataclasses import dataclass

NETWORK, DATASET = "ResNet-50", "ImageNet"
"""Of Tables 4 and 5, both."""

FIGURE_3 = (
    "The paper's Figure 3 (PyramidNet, CIFAR-100's test images) has no numbers. Its text says that "
    "DCutMix has the widest landscape and the lower losses, and that under Gaussian noise DCutMix "
    "and DMixup have the widest and lowest, beside CutMix and Mixup."
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

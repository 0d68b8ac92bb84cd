"""Table 6 of the paper (Jeong et al. 2023).

The paper is "Observations on K-image Expansion of Image-Mixing Augmentation", IEEE Access 2023.
None of its numbers is measured here, and reports label them as published. Tables 1 to 3 are in
`evaluate.published.error_rates`.
"""

from dataclasses import dataclass

PAPER = "Jeong et al. 2023"


@dataclass(frozen=True)
class PublishedRow:
    """One row of Table 6, ImageNet at 224×224; None for a dash in the paper."""

    architecture: str
    top1_error: float
    """Percent."""
    top5_error: float
    """Percent."""
    parameters_millions: float
    multiply_adds_millions: float | None
    """The column headed "# FLOPs (M)"."""
    search_cost_gpu_days: float | None
    """Search only."""
    search_method: str
    source: str
    """The work cited for the architecture in Table 6, or the paper itself."""


_PC_DARTS = "Xu et al. 2020, PC-DARTS (ICLR)"

TABLE_6 = (
    PublishedRow("AmoebaNet-C", 24.3, 7.6, 6.4, 570, 3150, "evolution", "Real et al. 2019 (AAAI)"),
    PublishedRow("MnasNet-92", 25.2, 8.0, 4.4, 388, None, "RL", "Tan et al. 2019 (CVPR)"),
    PublishedRow(
        "ProxylessNAS", 24.9, 7.5, 7.1, 465, 8.3, "gradient-based", "Cai et al. 2019 (ICLR)"
    ),
    PublishedRow("SNAS", 27.3, 9.2, 4.3, 522, 1.5, "gradient-based", "Xie et al. 2019 (ICLR)"),
    PublishedRow(
        "BayesNAS", 26.5, 8.9, 3.9, None, 0.2, "gradient-based", "Zhou et al. 2019 (ICML)"
    ),
    PublishedRow("PC-DARTS (CIFAR10)", 25.1, 7.8, 5.3, 586, 0.1, "gradient-based", _PC_DARTS),
    PublishedRow("PC-DARTS (ImageNet)", 24.2, 7.3, 5.3, 597, 3.8, "gradient-based", _PC_DARTS),
    PublishedRow("PC-DARTS (CIFAR100)", 23.8, 7.09, 6.3, 730, 0.1, "gradient-based", _PC_DARTS),
    PublishedRow(
        "PC-DARTS (High CV Sub-sampled CIFAR100)",
        *(24.3, 7.2, 5.8, 671, 0.01),
        "gradient-based",
        PAPER,
    ),
)
"""Table 6, in the paper's order. The cost of the last row is 0.01 GPU-days in the table and 16 min
(0.011) in the text. Its top-1 error is not the lowest: two other PC-DARTS rows are lower."""

"""Moderate coreset: the images at a median distance from their class's centre (Xia et al. 2023).

The idea is that images near the centre are redundant and those far from it may be mislabelled.
"""

import torch
from torch import Tensor


@torch.inference_mode()
def moderate_values(features: Tensor, labels: Tensor) -> Tensor:
    """Return -|d - the median of d in the image's class|, float32 [N]: the highest are kept.

    d is the Euclidean distance between an image's feature and the mean of its class (Xia et al.
    2023). `features` float [N, F] and `labels` int64 [N] are on one device; sums are in
    float64. In an even class the median is the mean of the two middle distances. Memory beyond the
    features is that of a class's in float64.

    Raises ValueError unless each feature has a label.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"labels {tuple(labels.shape)} of features {tuple(features.shape)}")
    values = features.new_empty(len(features), dtype=torch.float32)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        points = features[members].double()
        distances = (points - points.mean(0)).norm(dim=1)
        values[members] = -(distances - distances.quantile(0.5)).abs().float()
    return values

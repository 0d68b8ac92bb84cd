"""Wide residual networks for small images.

Zagoruyko & Komodakis 2016, "Wide Residual Networks", Table 1 with blocks B(3, 3). As in the
authors' implementation, no convolution has a bias and where a block widens the maps both of its
paths start from the activated ones: the pre-activation block as it is. Its optional dropout between
a block's convolutions is left out.
"""

from classification.models.resnet import PreActResNet


class WideResNet(PreActResNet):
    """WRN-depth-widen of depth 6n + 4: three stages of n blocks, 16, 32 and 64 × `widen` wide."""

    def __init__(self, depth: int, widen: int, num_classes: int) -> None:
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth {depth} is not 6n + 4 with n of at least 1")
        if widen < 1:
            raise ValueError(f"widen {widen} is not at least 1")
        super().__init__(16, (16 * widen, 32 * widen, 64 * widen), (depth - 4) // 6, num_classes)

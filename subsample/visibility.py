"""How much of an image its mixes show, and where."""

from dataclasses import dataclass

import torch
from torch import Tensor

from subsample.config import ScoresConfig
from subsample.mixes import draw_mixes
from subsample.uncertainty import anchors_in_block

_ENOUGH = 4096  # mixes looked at: a share is then known to within 0.8 points (standard error)


@dataclass(frozen=True)
class Visibility:
    """Over `mixes` mixes: how often each pixel of the anchor is seen, float64 [H, W] in [0, 1],
    and the mean, smallest and largest share of its pixels that are.

    `middle` is the mean of `seen` over the central third of the rows and of the columns.
    """

    mixes: int
    seen: Tensor
    middle: float
    mean: float
    smallest: float
    largest: float

    def describe(self) -> str:
        """Return the shares in words, in percent."""
        smallest, mean, largest, middle = (
            f"{100 * share:.0f}" for share in (self.smallest, self.mean, self.largest, self.middle)
        )
        spread = f" on average ({smallest} to {largest} %)" if smallest != largest else ""
        return (
            f"Mixes show {mean} %{spread} of the scored image's pixels, and {middle} % of those in "
            "its middle"
        )


def measure_visibility(images: Tensor, config: ScoresConfig, seed: int) -> Visibility:
    """Draw the mixes of the first images of `images` [N, C, H, W] as for their scores, and count.

    Whole blocks of images are drawn until there are 4,096 mixes, or as many as there are.
    """
    size, mixes = anchors_in_block(config), 0
    seen = torch.zeros(images.shape[-2:], dtype=torch.float64, device=images.device)
    shares = []
    for block, anchors in enumerate(torch.arange(len(images), device=images.device).split(size)):
        drawn = draw_mixes(anchors, images, config, seed, block)
        visible = drawn.owners == 0
        seen += visible.sum((0, 1))
        shares.append(visible.double().mean((2, 3)).flatten())
        mixes += len(shares[-1])
        if mixes >= _ENOUGH:
            break
    seen /= mixes
    share = torch.cat(shares)
    rows, columns = (slice(side // 3, side - side // 3) for side in seen.shape)
    return Visibility(
        mixes,
        seen.cpu(),
        float(seen[rows, columns].mean()),
        float(share.mean()),
        float(share.min()),
        float(share.max()),
    )

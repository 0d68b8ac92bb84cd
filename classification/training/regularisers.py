"""Stochastic depth and DropBlock: branches or blocks of feature maps dropped in training.

Both are forward hooks, so the state_dict stays as it is and eval mode is the bare model. They draw
from torch's global generator, which the trainer seeds for every epoch.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from classification.errors import ConfigError
from classification.models.network import Classifier


def add_stochastic_depth(model: Classifier, probability: float) -> None:
    """Drop residual branch l of L, l from 1, with the probability l / L · `probability`.

    Huang et al. 2016, "Deep Networks with Stochastic Depth", section 3. The paper draws once per
    batch and multiplies a branch by its survival probability at test time; here each sample has a
    separate draw and training divides by that probability: the same expectation. Adds nothing for
    0. Raises ConfigError unless 0 <= `probability` < 1.
    """
    _check_probability("scorer.stochastic_depth", probability)
    if probability == 0:
        return
    from torchvision.ops import stochastic_depth  # slow to import, needed only here

    ends = model.residual_ends
    for depth, end in enumerate(ends, start=1):
        end.register_forward_hook(
            partial(_drop_branch, stochastic_depth, depth / len(ends) * probability)
        )


def add_drop_block(model: Classifier, probability: float, block_size: int = 7) -> None:
    """Zero blocks of the maps that leave the last two stages.

    Ghiasi et al. 2018, "DropBlock", Algorithm 1: blocks of `block_size` pixels a side are drawn for
    each map of each sample, and the rest is scaled by the batch's number of values over that of the
    kept ones. The expected share of zeros is `probability`, or a little less where blocks overlap.
    On narrower maps a block has the largest odd side that fits.

    The paper drops after every convolution and shortcut of ResNet-50's groups 3 and 4, with a
    probability that grows from 0 during training, and a quarter of it in group 3 (the code
    published with it); here it is constant, the same in both stages and acts once after each.

    Adds nothing for a probability of 0. Raises ConfigError unless 0 <= `probability` < 1 and
    `block_size` is odd.
    """
    _check_probability("scorer.drop_block", probability)
    if block_size < 1 or block_size % 2 == 0:
        raise ConfigError(f"scorer.drop_block_size: found {block_size}, allowed: 1, 3, 5, 7, …")
    if probability == 0:
        return
    from torchvision.ops import drop_block2d  # slow to import, needed only here

    for stage in model.stages[-2:]:
        stage.register_forward_hook(partial(_drop_blocks, drop_block2d, probability, block_size))


def _drop_branch(
    drop: Callable[..., Tensor],
    probability: float,
    module: nn.Module,
    _inputs: tuple[Tensor, ...],
    branch: Tensor,
) -> Tensor:
    return drop(branch, probability, "row", training=module.training)


def _drop_blocks(
    drop: Callable[..., Tensor],
    probability: float,
    block_size: int,
    module: nn.Module,
    _inputs: tuple[Tensor, ...],
    maps: Tensor,
) -> Tensor:
    side = min(block_size, *maps.shape[2:])
    odd = side - 1 + side % 2  # torchvision's refuses even sides
    return drop(maps, probability, odd, training=module.training)


def _check_probability(key: str, probability: float) -> None:
    if not 0 <= probability < 1:
        raise ConfigError(f"{key}: found {probability}, allowed: at least 0 and below 1")

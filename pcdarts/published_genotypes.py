"""Published genotypes by name, and the paper that each comes from."""

from pcdarts.genotype import Edge, Genotype, Node


def _cell(text: str) -> tuple[Node, ...]:
    """Read `operation,source operation,source | …`."""
    nodes = []
    for node in text.split("|"):
        first, second = (edge.split(",") for edge in node.split())
        nodes.append((Edge(first[0], int(first[1])), Edge(second[0], int(second[1]))))
    return tuple(nodes)


GENOTYPES = {
    "darts_v1": Genotype(
        normal=_cell(
            "sep_conv_3x3,1 sep_conv_3x3,0 | skip_connect,0 sep_conv_3x3,1 |"
            "skip_connect,0 sep_conv_3x3,1 | sep_conv_3x3,0 skip_connect,2"
        ),
        reduce=_cell(
            "max_pool_3x3,0 max_pool_3x3,1 | skip_connect,2 max_pool_3x3,0 |"
            "max_pool_3x3,0 skip_connect,2 | skip_connect,2 avg_pool_3x3,0"
        ),
    ),
    "darts_v2": Genotype(
        normal=_cell(
            "sep_conv_3x3,0 sep_conv_3x3,1 | sep_conv_3x3,0 sep_conv_3x3,1 |"
            "sep_conv_3x3,1 skip_connect,0 | skip_connect,0 dil_conv_3x3,2"
        ),
        reduce=_cell(
            "max_pool_3x3,0 max_pool_3x3,1 | skip_connect,2 max_pool_3x3,1 |"
            "max_pool_3x3,0 skip_connect,2 | skip_connect,2 max_pool_3x3,1"
        ),
    ),
    "pcdarts_cifar10": Genotype(
        normal=_cell(
            "sep_conv_3x3,1 skip_connect,0 | sep_conv_3x3,0 dil_conv_3x3,1 |"
            "sep_conv_5x5,0 sep_conv_3x3,1 | avg_pool_3x3,0 dil_conv_3x3,1"
        ),
        reduce=_cell(
            "sep_conv_5x5,1 max_pool_3x3,0 | sep_conv_5x5,1 sep_conv_5x5,2 |"
            "sep_conv_3x3,0 sep_conv_3x3,3 | sep_conv_3x3,1 sep_conv_3x3,2"
        ),
    ),
    "pcdarts_imagenet": Genotype(
        normal=_cell(
            "skip_connect,1 sep_conv_3x3,0 | sep_conv_3x3,0 skip_connect,1 |"
            "sep_conv_3x3,1 sep_conv_3x3,3 | sep_conv_3x3,1 dil_conv_5x5,4"
        ),
        reduce=_cell(
            "sep_conv_3x3,0 skip_connect,1 | dil_conv_5x5,2 max_pool_3x3,1 |"
            "sep_conv_3x3,2 sep_conv_3x3,1 | sep_conv_5x5,0 sep_conv_3x3,3"
        ),
    ),
}

_DARTS = "Liu et al. 2019, DARTS: Differentiable Architecture Search"
_PC_DARTS = "Xu et al. 2020, PC-DARTS: Partial Channel Connections for Memory-Efficient DARTS"
PAPERS = {
    "darts_v1": f"{_DARTS} (first order, CIFAR-10)",
    "darts_v2": f"{_DARTS} (second order, CIFAR-10)",
    "pcdarts_cifar10": f"{_PC_DARTS} (CIFAR-10)",
    "pcdarts_imagenet": f"{_PC_DARTS} (ImageNet)",
}
"""The paper of each genotype, and what was searched there."""

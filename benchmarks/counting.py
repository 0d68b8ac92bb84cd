"""Multiply-adds of operations, cells and networks by this project's count and by other counters.

    sh benchmarks/counting.sh    # a fresh environment; writes docs/counting.md

Runs on a CPU, with the packages that counting.sh installs.
"""

import argparse
import importlib.metadata
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.counters import COUNTERS, count
from evaluate.complexity import MOBILE_MULTIPLY_ADDS, measure_complexity
from pcdarts.genotype import Genotype, random_genotype
from pcdarts.network import Cell, CifarNetwork, ImageNetNetwork
from pcdarts.operations import CANDIDATES, build_operation
from pcdarts.published_genotypes import GENOTYPES
from pipeline.reports.page import markdown_table

CHANNELS, SIDE = 16, 32  # of the single operations
RANDOM = 24  # genotypes
# They trace a network, which takes up to half a minute and a gigabyte for one of 224 × 224 pixels.
TRACING = ("fvcore", "torchprofile")


class Logits(nn.Module):
    """A network of cells that returns its logits alone, as counters expect."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)[0]


class OneCell(nn.Module):
    """A normal cell whose two inputs are the same maps."""

    def __init__(self, genotype: Genotype, channels: int) -> None:
        super().__init__()
        self.cell = Cell(genotype, channels, channels, channels, False, False)

    def forward(self, maps: Tensor) -> Any:
        return self.cell(maps, maps, 0.0)


class Function(nn.Module):
    """A depthwise 3×3 convolution called as a function, as supernets with shared weights do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 3, 3))

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(maps, self.weight, padding=1, groups=len(self.weight))


def counted(
    networks: Mapping[str, tuple[nn.Module, Tensor]], names: Iterable[str] = COUNTERS
) -> dict[str, dict[str, float | None]]:
    """Return the counts of every network (first key) by counters (second key)."""
    return {
        name: {key: count(COUNTERS[key][1], *made) for key in names}
        for name, made in networks.items()
    }


def operations() -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the operations of the search space, and two parts of networks, with their input."""
    maps = torch.zeros(1, CHANNELS, SIDE, SIDE)
    made: dict[str, nn.Module] = {
        name: build_operation(name, CHANNELS, 1, affine=True) for name in CANDIDATES
    }
    made["BatchNorm"], made["ReLU"] = nn.BatchNorm2d(CHANNELS), nn.ReLU()
    made["F.conv2d, depthwise 3×3"] = Function(CHANNELS)
    return {name: (module, maps) for name, module in made.items()}


def small(genotype: Genotype) -> tuple[nn.Module, Tensor]:
    """Return the network of 20 cells of 36 channels for CIFAR-10."""
    return Logits(CifarNetwork(genotype, 10, auxiliary=False)), torch.zeros(1, 3, 32, 32)


def large(genotype: Genotype) -> tuple[nn.Module, Tensor]:
    """Return the network of 14 cells of 48 channels for ImageNet."""
    return Logits(ImageNetNetwork(genotype, auxiliary=False)), torch.zeros(1, 3, 224, 224)


def own(genotype: Genotype, kind: type[nn.Module], side: int) -> tuple[int, int]:
    """Return this project's counts: of convolutions and the classifier; of everything."""
    classes = {} if kind is ImageNetNetwork else {"num_classes": 10}
    found = measure_complexity(lambda: kind(genotype, **classes, auxiliary=False), side)
    return found.multiply_adds, found.all_multiply_adds


def _millions(value: float | None) -> str:
    return "refused" if value is None else f"{value / 1e6:,.1f}"


def _exactly(value: float | None) -> str:
    return "refused" if value is None else f"{value:,.0f}"


def page(found: Mapping[str, Genotype]) -> str:
    """Return docs/counting.md."""
    genotypes = GENOTYPES | dict(found)
    networks = {f"{n}, CIFAR": small(g) for n, g in genotypes.items()}
    networks |= {f"{n}, ImageNet": large(g) for n, g in genotypes.items()}
    owns = {f"{n}, CIFAR": own(g, CifarNetwork, 32) for n, g in genotypes.items()}
    owns |= {f"{n}, ImageNet": own(g, ImageNetNetwork, 224) for n, g in genotypes.items()}
    totals, parts = counted(networks), counted(operations())
    cells = counted(
        {n: (OneCell(g, 36), torch.zeros(1, 36, SIDE, SIDE)) for n, g in genotypes.items()}
    )
    generator = torch.Generator().manual_seed(0)
    drawn = {str(n): random_genotype(generator) for n in range(RANDOM)}
    quick = [key for key in COUNTERS if key not in TRACING]
    limits = counted({n: large(g) for n, g in drawn.items()}, quick)
    owned = [own(g, ImageNetNetwork, 224) for g in drawn.values()]
    columns: dict[str, list[float | None]] = {
        "this project": [count for count, _ in owned],
        "this project, with normalisation": [count for _, count in owned],
    }
    columns |= {key: [limits[n][key] for n in drawn] for key in quick}
    rows = [[key, *_passing(values, columns["this project"])] for key, values in columns.items()]
    names = list(COUNTERS)
    versions = {p: importlib.metadata.version(p) for p, _, _ in COUNTERS.values()}
    return _PAGE.format(
        rules=_table(
            ["counter", "version", "counts"],
            [[key, versions[p], says] for key, (p, _, says) in COUNTERS.items()],
        ),
        channels=CHANNELS,
        side=SIDE,
        operations=_table(
            ["operation", *names],
            [[n, *(_exactly(row[key]) for key in names)] for n, row in parts.items()],
        ),
        cells=_table(
            ["cell", *names],
            [[n, *(_millions(row[key]) for key in names)] for n, row in cells.items()],
        ),
        networks=_table(
            ["network", "this project", "with normalisation", *names],
            [
                [n, *map(_millions, owns[n]), *(_millions(row[key]) for key in names)]
                for n, row in totals.items()
            ],
        ),
        over=_over(totals),
        random=RANDOM,
        tracing=" and ".join(TRACING),
        limits=_table(
            [
                "counter",
                "smallest, M",
                "largest, M",
                "within 600 M",
                "too large only here",
                "within only here",
            ],
            rows,
        ),
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table({head: [row[n] for row in rows] for n, head in enumerate(heads)})


def _over(totals: Mapping[str, Mapping[str, float | None]]) -> str:
    """Name the networks over the budget, by counter."""
    found = [
        f"{name} by {key} ({_millions(value)} M)"
        for name, row in totals.items()
        for key, value in row.items()
        if value is not None and value > MOBILE_MULTIPLY_ADDS
    ]
    return "; ".join(found) or "none"


def _passing(values: Sequence[float | None], ours: Sequence[float | None]) -> list[str]:
    """Return the smallest and the largest count, how many are within the budget, and the places of
    the networks that are too large or within by this counter alone, beside `ours`."""
    known = [value for value in values if value is not None]
    if not known:
        return ["refused", "", "", "", ""]
    within, ours_within = (
        {n for n, count in enumerate(counts) if count and count <= MOBILE_MULTIPLY_ADDS}
        for counts in (values, ours)
    )
    differing = (sorted(ours_within - within), sorted(within - ours_within))
    named = (", ".join(map(str, places)) or "none" for places in differing)
    return [_millions(min(known)), _millions(max(known)), str(len(within)), *named]


_PAGE = """\
# Counting multiply-adds

"A network of at most 600 M multiply-adds" means different networks to different counters. This
page counts the same operations, cells and networks with each. `sh benchmarks/counting.sh` writes
it, in a fresh environment (2026-11-29, Python 3.11, CPU; counts do not depend on the
device). One image, eval mode, no auxiliary head.

## What is counted

All count convolutions and linear layers that are modules. They differ in what they add and miss:

{rules}

The budgets, warnings and tables of this project count as torch does. A second number adds 2 for
each value of a BatchNorm and 1 for each of a ReLU, which gives the figures of the PC-DARTS paper
([method](method.md#multiply-adds)). Backward passes are not counted: torch's counter takes the
weight gradient of a depthwise convolution for a dense one's, so that with C channels its backward
counts C + 1 times the forward, 65 times with 64
([script](../findings/torch-flop-counter-depthwise-backward.sh)).

## Operations

Multiply-adds on {channels} × {side} × {side} values, stride 1.

{operations}

## Cells

Millions: a normal cell of 36 channels on {side} × {side} pixels, with inputs of 36 channels.

{cells}

## Networks

Millions. CIFAR: 20 cells of 36 channels, 10 classes. ImageNet: 14 cells of 48 channels, 224 × 224
pixels. `found` is the genotype of a search of 50 epochs on the quickstart's digits (seed 0).

{networks}

Over 600 M: {over}.

## What a limit lets through

{random} random genotypes (seed 0), numbered from 0, as ImageNet networks of 14 cells of 48
channels: how many count at most 600 M, and the numbers of those on another side of that limit than
by this project's count. Counters that trace the network, {tracing}, are left
out: they take up to half a minute and a gigabyte for each.

{limits}
"""


def main() -> None:
    """Write the page to standard output or `--output`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--found", type=Path, help="genotype.json of a search")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = {"found": Genotype.load(given.found)} if given.found else {}
    with torch.no_grad():
        given.output.write_text(page(found))


if __name__ == "__main__":
    main()

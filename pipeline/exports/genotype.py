"""Exports a genotype as JSON and as the tuple that DARTS-family repositories read.

The tuple has four fields: for both kinds of cell, the edges, two per node, and the states that are
concatenated (Liu et al. 2019; Xu et al. 2020).
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pcdarts.genotype import NUM_INPUTS, NUM_NODES, Genotype, Node
from pipeline.exports.recorded_run import RecordedRun
from pipeline.stages.contest import genotype_stage
from pipeline.stages.search import GENOTYPE

TUPLE = "genotypes.py"
FILES = (GENOTYPE, TUPLE)

_MODULE = '''"""The genotype of the run {run}, for the genotypes.py of a DARTS-family repository."""

from collections import namedtuple

Genotype = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")

{name} = {genotype}
'''


def write_genotype(run: RecordedRun, folder: Path) -> None:
    """Write genotype.json and genotypes.py."""
    genotype = Genotype.load(run.path(genotype_stage(run.config), GENOTYPE))
    folder.mkdir()
    genotype.save(folder / GENOTYPE)
    name = constant_name(run.config.name)
    text = _MODULE.format(run=run.config.name, name=name, genotype=darts_form(genotype))
    (folder / TUPLE).write_text(text)


def darts_form(genotype: Genotype) -> str:
    """Return the expression that creates the namedtuple, with one field or edge per line."""
    lines = ["Genotype("]
    for kind, nodes in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        lines += [f"    {kind}=[", *_edges(nodes), "    ],"]
        lines += [f"    {kind}_concat=range({NUM_INPUTS}, {NUM_INPUTS + NUM_NODES}),"]
    return "\n".join([*lines, ")"])


def constant_name(run: str) -> str:
    """Convert a run's name to a Python constant's, which such repositories take as `--arch`."""
    name = re.sub(r"\W", "_", run, flags=re.ASCII).upper()
    return f"_{name}" if name[0].isdigit() else name


def _edges(nodes: Sequence[Node]) -> list[str]:
    return [f"        ({edge.operation!r}, {edge.source})," for node in nodes for edge in node]

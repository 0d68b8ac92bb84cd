"""Exports a genotype as JSON, as the tuple that DARTS-family repositories read, and for Graphviz.

The tuple has four fields: for both kinds of cell, the edges, two per node, and the states that are
concatenated (Liu et al. 2019; Xu et al. 2020).
"""

import re
from collections.abc import Sequence
from pathlib import Path

from pcdarts.drawing import cell_lines, titled_cells
from pcdarts.genotype import NUM_INPUTS, NUM_NODES, Genotype, Node
from pipeline.exports.recorded_run import RecordedRun
from pipeline.stages.genotype import genotype_stage
from pipeline.stages.search import GENOTYPE

TUPLE, DOT = "genotypes.py", "genotype.dot"
FILES = (GENOTYPE, TUPLE, DOT)

_MODULE = '''"""The genotype of the run {run}, for the genotypes.py of a DARTS-family repository."""

from collections import namedtuple

Genotype = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")

{name} = {genotype}
'''


def write_genotype(run: RecordedRun, folder: Path) -> None:
    """Write genotype.json, genotypes.py and genotype.dot."""
    genotype = Genotype.load(run.path(genotype_stage(run.config), GENOTYPE))
    folder.mkdir()
    genotype.save(folder / GENOTYPE)
    name = constant_name(run.config.name)
    text = _MODULE.format(run=run.config.name, name=name, genotype=darts_form(genotype))
    (folder / TUPLE).write_text(text)
    (folder / DOT).write_text(dot_form(genotype), encoding="utf-8")


def darts_form(genotype: Genotype) -> str:
    """Return the expression that creates the namedtuple, with one field or edge per line."""
    lines = ["Genotype("]
    for kind, nodes in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        lines += [f"    {kind}=[", *_edges(nodes), "    ],"]
        lines += [f"    {kind}_concat=range({NUM_INPUTS}, {NUM_INPUTS + NUM_NODES}),"]
    return "\n".join([*lines, ")"])


def dot_form(genotype: Genotype) -> str:
    """Return both cells as one directed graph in Graphviz's language, a cluster each.

    A state is named `normal 0` or `reduction k−1`, its label is the name in the cell; an edge has
    its operation as label, except those of the concatenation to the output k.
    """
    lines = ["digraph genotype {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for title, nodes in titled_cells(genotype):
        kind = title.split()[0].lower()
        edges = cell_lines(nodes)
        states = dict.fromkeys(name for _, start, _, end in edges for name in (start, end))
        lines += [f"  subgraph cluster_{kind} {{", f'    label="{title}";']
        lines += [f'    "{kind} {name}" [label="{name}"];' for name in states]
        for _, start, operation, end in edges:
            label = f' [label="{operation}"]' if operation else ""
            lines.append(f'    "{kind} {start}" -> "{kind} {end}"{label};')
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def constant_name(run: str) -> str:
    """Convert a run's name to a Python constant's, which such repositories take as `--arch`."""
    name = re.sub(r"\W", "_", run, flags=re.ASCII).upper()
    return f"_{name}" if name[0].isdigit() else name


def _edges(nodes: Sequence[Node]) -> list[str]:
    return [f"        ({edge.operation!r}, {edge.source})," for node in nodes for edge in node]

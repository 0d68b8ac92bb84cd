"""A genotype as other repositories of the DARTS family read it."""

import re
from collections import namedtuple

import pytest

from pcdarts.genotype import Edge
from pcdarts.published_genotypes import GENOTYPES
from pipeline.exports.genotype import constant_name, darts_form, dot_form

# What those repositories define in their own genotypes.py.
Theirs = namedtuple("Theirs", "normal normal_concat reduce reduce_concat")


@pytest.mark.parametrize("name", GENOTYPES)
def test_the_tuple_form_holds_the_same_edges(name: str) -> None:
    ours = GENOTYPES[name]
    theirs = eval(darts_form(ours), {"Genotype": Theirs, "range": range})
    assert list(theirs.normal_concat) == list(theirs.reduce_concat) == [2, 3, 4, 5]
    for cell, nodes in ((theirs.normal, ours.normal), (theirs.reduce, ours.reduce)):
        operations, sources = zip(*cell, strict=True)  # as their networks are built
        pairs = zip(operations, sources, strict=True)
        assert [Edge(*pair) for pair in pairs] == [edge for node in nodes for edge in node]


def test_graphviz_is_given_each_edge_once() -> None:
    genotype = GENOTYPES["pcdarts_cifar10"]
    text = dot_form(genotype)
    drawn = re.findall(r'^    "(.+)" -> "(.+)" \[label="(.+)"\];$', text, re.M)
    names = ("cₖ₋₂", "cₖ₋₁", "0", "1", "2", "3")
    assert drawn == [
        (f"{kind} {names[edge.source]}", f"{kind} {index}", edge.operation)
        for kind, nodes in (("normal", genotype.normal), ("reduction", genotype.reduce))
        for index, node in enumerate(nodes)
        for edge in node
    ]
    joined = re.findall(r'^    "(.+)" -> "(.+)";$', text, re.M)
    assert joined == [(f"{k} {n}", f"{k} cₖ") for k in ("normal", "reduction") for n in names[2:]]


def test_it_is_written_as_they_publish_theirs() -> None:
    text = "".join(darts_form(GENOTYPES["pcdarts_cifar10"]).split())
    published = (
        "Genotype(normal=[('sep_conv_3x3',1),('skip_connect',0),('sep_conv_3x3',0),"
        "('dil_conv_3x3',1),('sep_conv_5x5',0),('sep_conv_3x3',1),('avg_pool_3x3',0),"
        "('dil_conv_3x3',1),],normal_concat=range(2,6),"
    )
    assert text.startswith(published)


@pytest.mark.parametrize(
    ("run", "name"), [("cifar100-fast", "CIFAR100_FAST"), ("1st.try", "_1ST_TRY"), ("a_b", "A_B")]
)
def test_a_runs_name_becomes_a_constant(run: str, name: str) -> None:
    assert constant_name(run) == name
    assert name.isidentifier()

"""A genotype as other repositories of the DARTS family read it."""

import runpy
from collections import namedtuple
from pathlib import Path

import pytest

from pcdarts.genotype import GENOTYPES, Edge, Genotype
from pipeline.exports.genotype import constant_name, darts_form
from tests.pipeline.test_export import Place

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


def test_it_is_written_as_they_publish_theirs() -> None:
    text = "".join(darts_form(GENOTYPES["pc-darts-cifar10"]).split())
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


def test_both_files_hold_what_the_search_found(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.run("--until", "subset") == 0
    found = place.made("search", "genotype.json")
    found.parent.mkdir(parents=True)
    found.with_name("artifact.json").write_text('{"files": {}}')
    GENOTYPES["darts-v2"].save(found)
    assert place.export("genotype", tmp_path / "out") == 0
    assert Genotype.load(tmp_path / "out" / "genotype.json") == GENOTYPES["darts-v2"]
    module = runpy.run_path(str(tmp_path / "out" / "genotypes.py"))
    flat = [tuple(edge) for node in GENOTYPES["darts-v2"].reduce for edge in node]
    assert module["TINY"].reduce == flat

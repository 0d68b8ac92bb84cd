import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from classification.errors import ArtifactError
from pcdarts.genotype import (
    EDGES_PER_NODE,
    NUM_EDGES,
    Edge,
    Genotype,
    derive_genotype,
    entropy,
    normalize_edges,
    skip_connections,
)
from pcdarts.operations import OPERATIONS
from pcdarts.published_genotypes import GENOTYPES

FIRST_EDGE = (0, 2, 5, 9)  # of each node


def _architecture(cell: tuple[Any, ...]) -> torch.Tensor:
    """α that prefer the given cell: its edges' operations at 4 (a node's first) and 3."""
    alphas = torch.zeros(NUM_EDGES, len(OPERATIONS))
    for node, first in zip(cell, FIRST_EDGE, strict=True):
        for edge, value in zip(node, (4.0, 3.0), strict=True):
            alphas[first + edge.source, OPERATIONS.index(edge.operation)] = value
    return alphas


@pytest.mark.parametrize("name", GENOTYPES)
def test_derivation_finds_the_operations_alphas_prefer(name: str) -> None:
    genotype, betas = GENOTYPES[name], torch.zeros(NUM_EDGES)
    alphas = _architecture(genotype.normal), _architecture(genotype.reduce)
    assert derive_genotype(*alphas, betas, betas) == genotype


def test_none_is_never_chosen() -> None:
    alphas = torch.zeros(NUM_EDGES, len(OPERATIONS))
    alphas[:, 0] = 10
    alphas[:, 3] = 1
    genotype = derive_genotype(alphas, alphas, torch.zeros(NUM_EDGES), torch.zeros(NUM_EDGES))
    assert skip_connections(genotype) == {"normal": 8, "reduce": 8}


def test_a_large_share_of_none_weakens_an_edge() -> None:
    alphas = torch.zeros(NUM_EDGES, len(OPERATIONS))
    alphas[2, 0] = 5  # node 1's edge from source 0
    betas = torch.zeros(NUM_EDGES)
    node = derive_genotype(alphas, alphas, betas, betas).normal[1]
    assert [edge.source for edge in node] == [1, 2]


def test_betas_choose_between_equal_alphas() -> None:
    alphas, betas = torch.zeros(NUM_EDGES, len(OPERATIONS)), torch.zeros(NUM_EDGES)
    betas[9 + 4], betas[9 + 2] = 2, 1
    node = derive_genotype(alphas, alphas, betas, betas).reduce[3]
    assert [edge.source for edge in node] == [4, 2]


def test_strength_is_the_product_of_alpha_and_beta() -> None:
    alphas, betas = torch.full((NUM_EDGES, len(OPERATIONS)), -20.0), torch.zeros(NUM_EDGES)
    # Node 1's sources 0, 1, 2: best shares of α 0.9, 0.6 and 0.5; β 1 : 2 : 3.
    for edge, share in ((2, 0.9), (3, 0.6), (4, 0.5)):
        alphas[edge, 4], alphas[edge, 0] = math.log(share), math.log(1 - share)
    betas[2:5] = torch.tensor([1.0, 2.0, 3.0]).log()
    node = derive_genotype(alphas, alphas, betas, betas).normal[1]
    assert node == (Edge("sep_conv_3x3", 2), Edge("sep_conv_3x3", 1))  # 1.5, 1.2; 0.9 loses


def test_edges_of_each_node_sum_to_one() -> None:
    weights = normalize_edges(torch.randn(NUM_EDGES, generator=torch.Generator().manual_seed(0)))
    sums = torch.stack([node.sum() for node in weights.split(EDGES_PER_NODE)])
    torch.testing.assert_close(sums, torch.ones(4))


def test_entropy_of_equal_weights_is_that_of_the_uniform_distribution() -> None:
    found = entropy(torch.zeros(NUM_EDGES, len(OPERATIONS)), torch.zeros(NUM_EDGES))
    assert found["alphas"] == pytest.approx(math.log(8))
    assert found["betas"] == pytest.approx(math.log(2 * 3 * 4 * 5) / 4)


def test_entropy_of_decided_weights_is_zero() -> None:
    alphas, betas = torch.zeros(NUM_EDGES, len(OPERATIONS)), torch.zeros(NUM_EDGES)
    alphas[:, 5] = 1e4
    betas[list(FIRST_EDGE)] = 1e4
    assert entropy(alphas, betas) == {"alphas": 0, "betas": 0}


def test_published_skip_connections() -> None:
    assert skip_connections(GENOTYPES["darts_v1"]) == {"normal": 3, "reduce": 3}
    assert skip_connections(GENOTYPES["pcdarts_cifar10"]) == {"normal": 1, "reduce": 0}


@pytest.mark.parametrize("name", GENOTYPES)
def test_a_saved_genotype_loads_equal(name: str, tmp_path: Path) -> None:
    GENOTYPES[name].save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == GENOTYPES[name]


def test_json_form_is_operation_and_source() -> None:
    form = GENOTYPES["pcdarts_cifar10"].to_dict()
    assert form["normal"][0] == [["sep_conv_3x3", 1], ["skip_connect", 0]]
    assert json.loads(json.dumps(form)) == form


def _broken(node: int, edge: int, value: Any) -> dict[str, Any]:
    form = GENOTYPES["darts_v2"].to_dict()
    form["normal"][node][edge] = value
    return form


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (_broken(0, 0, ["none", 0]), "normal: node 0: unknown operation 'none'; allowed: max_pool"),
        (_broken(1, 1, ["skip_connect", 3]), "normal: node 1: source 3; allowed: 0 to 2"),
        (_broken(1, 1, ["skip_connect", -1]), "source -1; allowed"),
        (_broken(1, 1, ["skip_connect", True]), "source True; allowed"),
        (_broken(1, 1, ["skip_connect"]), "an edge is"),
        (_broken(2, 0, 7), "found 7; an edge is"),
        ({"normal": [], "reduce": []}, "normal: found 0 nodes; a cell has 4 nodes"),
        ({"normal": [7], "reduce": []}, "normal: found 1 node; a cell has 4 nodes"),
        ({"normal": [[]] * 4, "reduce": []}, "normal: node 0: found .*; a node has two edges"),
        ({"normal": None, "reduce": []}, "normal: found NoneType; a cell"),
        ({"normal": []}, "a genotype has keys normal and reduce"),
        ([], "found list"),
    ],
)
def test_a_malformed_genotype_is_refused_in_one_line(form: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        Genotype.from_dict(form, "here.json")
    assert str(caught.value).startswith("here.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "{", "\x00"])
def test_an_unreadable_file_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "genotype.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=r"genotype\.json: .*cannot be read"):
        Genotype.load(path)

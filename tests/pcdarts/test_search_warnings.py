"""Each reason not to trust a genotype, by hand-worked numbers."""

import math
from typing import Any

import pytest
import torch
from scipy.stats import entropy

from pcdarts.genotype import NUM_EDGES, derive_genotype, runners_up
from pcdarts.published_genotypes import GENOTYPES
from pcdarts.search_warnings import search_warnings, share_entropy

DECIDED = torch.zeros(NUM_EDGES, 8)
DECIDED[:, 4] = 1.0
TEN = math.log(10)


def _row(
    loss: float,
    operations: tuple[str, ...] = (),
    warmup: bool = False,
    alphas: torch.Tensor = DECIDED,
) -> dict[str, Any]:
    """A row whose normal cell opens with `operations`, followed by separable convolutions."""
    names = [*operations, *["sep_conv_3x3"] * (8 - len(operations))]
    nodes = [[[names[2 * n], 0], [names[2 * n + 1], 1]] for n in range(4)]
    return {
        "loss": loss,
        "warmup": warmup,
        "genotype": {"normal": nodes, "reduce": [[["skip_connect", 0], ["skip_connect", 1]]] * 4},
        "alphas": {"normal": alphas.tolist(), "reduce": DECIDED.tolist()},
        "betas": {"normal": [0.0] * NUM_EDGES, "reduce": [0.0] * NUM_EDGES},
    }


def test_a_sound_search_has_no_warnings() -> None:
    rows = [_row(2.3), _row(1.0, ("skip_connect", "avg_pool_3x3", "max_pool_3x3"))]
    assert search_warnings(rows, TEN) == []
    assert search_warnings([], TEN) == []


@pytest.mark.parametrize("name", GENOTYPES)
def test_published_cells_do_not_count_as_collapsed(name: str) -> None:
    row = _row(1.0) | {"genotype": GENOTYPES[name].to_dict()}
    assert search_warnings([row], TEN) == []


def test_a_normal_cell_of_skips_and_pools_is_a_collapse() -> None:
    operations = ("max_pool_3x3", "skip_connect", "max_pool_3x3", "avg_pool_3x3")
    (warning,) = search_warnings([_row(1.0, operations)], TEN)
    assert "(2 max pools, 1 skip connection, 1 average pool on 8 edges)" in warning


def test_a_loss_that_stays_at_guessing_is_reported() -> None:
    (warning,) = search_warnings([_row(2.31), _row(2.29)], TEN)
    assert "lowest 2.290; entropy of the class shares 2.303" in warning


def test_guessing_by_unequal_shares_is_guessing() -> None:
    """Of classes 9:1 guessing costs 0.325 nats: less than half of ln 2, which never warned."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    shares = share_entropy(labels)
    assert shares == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert shares == pytest.approx(entropy([90, 10]))
    (warning,) = search_warnings([_row(0.33), _row(0.32)], shares)
    assert "entropy of the class shares 0.325" in warning
    assert search_warnings([_row(0.33), _row(0.2)], shares) == []


def test_the_warmup_has_no_warnings() -> None:
    assert search_warnings([_row(2.3, ("skip_connect",) * 8, warmup=True)], TEN) == []


def test_a_cell_whose_operations_are_hardly_told_apart_is_a_near_tie() -> None:
    """One α of 0.05 above seven of 0: softmax 0.1307 and 0.1242 of 0.1250."""
    alphas = torch.zeros(NUM_EDGES, 8)
    alphas[:, 4] = 0.05
    (warning,) = search_warnings([_row(1.0, alphas=alphas)], TEN)
    high, low = math.exp(0.05) / (7 + math.exp(0.05)), 1 / (7 + math.exp(0.05))
    assert warning.startswith("the normal cell is a near tie: the search hardly preferred any op")
    assert "more search epochs or more images may separate them" in warning
    shares = f"{low:.4f} to {high:.4f}, where 1/8 = 0.1250 is undecided"
    assert f"weights the 8 operations of an edge by softmax(α), here {shares}" in warning
    # Of the first node both edges are chosen; of the second, a third one is as strong, so that
    # its margins are narrower.
    assert "node 0" not in warning
    assert f"sep_conv_3x3 of cₖ₋₂ in node 1, {high / 3:.4f} over {high / 3:.4f}" in warning
    assert "Of its 8 edges" in warning
    assert warning.count(" over ") == 3  # the sentence and two edges
    alphas[:, 4] = 0.2  # softmax 0.1486: 19 % above uniform
    assert search_warnings([_row(1.0, alphas=alphas)], TEN) == []


def test_the_next_best_choice_is_what_would_replace_an_edge() -> None:
    alphas = torch.randn(NUM_EDGES, 8, generator=torch.Generator().manual_seed(0))
    betas = torch.randn(NUM_EDGES, generator=torch.Generator().manual_seed(1))
    genotype = derive_genotype(alphas, alphas, betas, betas)
    found = runners_up(alphas, betas)
    assert [edge for _, edge, _, _ in found] == [edge for node in genotype.normal for edge in node]
    assert all(strength > following > 0 for _, _, strength, following in found)
    # Node 1 by hand: its edges are rows 2 to 4.
    strengths = alphas.double().softmax(1)[2:5, 1:] * betas[2:5].double().softmax(0)[:, None]
    by_edge = strengths.max(1).values
    left_out = float(by_edge.min())
    for index, edge, strength, following in found[2:4]:
        assert index == 1
        first, second = strengths[edge.source].sort(descending=True).values[:2].tolist()
        assert (strength, following) == pytest.approx((first, max(second, left_out)))

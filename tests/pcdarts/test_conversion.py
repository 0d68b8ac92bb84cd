import pytest
import torch

from pcdarts.conversion import to_merged, to_plain
from pcdarts.plain_supernet import PlainSupernet
from pcdarts.supernet import Supernet


@pytest.mark.parametrize(
    ("partial", "network"), [(1, "cifar"), (2, "cifar"), (4, "cifar"), (2, "imagenet")]
)
def test_both_forms_convert_into_each_other_and_back(partial, network):
    torch.manual_seed(0)
    sizes = {"channels": 4, "cells": 4, "partial": partial, "network": network}
    plain = PlainSupernet(5, **sizes).state_dict()
    merged = to_merged(plain)
    assert merged.keys() == Supernet(5, **sizes).state_dict().keys()
    back = to_plain(merged)
    assert back.keys() == plain.keys()
    assert all(torch.equal(back[name], plain[name]) for name in plain)


def test_what_lies_outside_the_edges_is_passed_through():
    weights = {"stem.0.weight": torch.ones(1), "alphas_normal": torch.zeros(14, 8)}
    assert to_plain(weights) == to_merged(weights) == weights


def test_rows_go_to_the_edge_they_belong_to():
    """The inputs' edges by state and node: edges 0, 2, 5, 9 leave input 0; 1, 3, 6, 10 input 1."""
    rows = torch.arange(16.0).reshape(16, 1, 1, 1)  # two channels an edge
    plain = to_plain({"cells.3.sources.0.dilated.1.depthwise.weight": rows})
    order = [int(name.split(".")[3]) for name in plain]
    assert order == [0, 2, 5, 9, 1, 3, 6, 10]
    assert plain["cells.3.edges.9.operations.6.1.weight"].flatten().tolist() == [6, 7]
    assert plain["cells.3.edges.1.operations.6.1.weight"].flatten().tolist() == [8, 9]


def test_a_name_that_no_supernet_has_is_refused():
    with pytest.raises(KeyError, match="whatever"):
        to_plain({"cells.0.sources.0.whatever": torch.zeros(1)})

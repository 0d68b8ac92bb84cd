"""Stratified and drawn orders: hand-worked, and against the papers' algorithms for one budget."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from classification.errors import ConfigError
from subsample.measures import OF_DIFFICULTY, StratificationConfig
from subsample.orders import check_order, drawn_order, entropy_probabilities, stratified_order
from subsample.selection import select
from subsample.subset_config import SelectionConfig


def order_of(values: list[float], beta: float = 0.0, strata: int = 3, seed: int = 0) -> np.ndarray:
    config = StratificationConfig(beta=beta, strata=strata)
    return stratified_order(np.array(values, float), config, torch.Generator().manual_seed(seed))


def budgets(sizes: list[int], budget: int) -> list[int]:
    """What strata of these sizes give: Algorithm 1 of Zheng et al. 2023, the smallest first."""
    given = [0] * len(sizes)
    left, open_ = budget, sorted(range(len(sizes)), key=lambda i: sizes[i])
    while open_:
        stratum = open_.pop(0)
        given[stratum] = min(sizes[stratum], left // (len(open_) + 1))
        left -= given[stratum]
    return given


def test_strata_take_turns_and_the_largest_gets_what_is_left_over() -> None:
    # Strata [0, 1), [1, 2), [2, 3] of 2, 5 and 3 images. Of 7 images, the first gives its 2, the
    # third half of the other 5, rounded down, and the second the rest.
    values = [0.0, 0.5, 1.0, 1.1, 1.2, 1.3, 1.4, 2.5, 2.9, 3.0]
    stratum = np.array([0] * 2 + [1] * 5 + [2] * 3)
    assert np.bincount(stratum[order_of(values)[:7]]).tolist() == [2, 3, 2]
    assert np.bincount(stratum[order_of(values)[:8]]).tolist() == [2, 3, 3]
    assert np.bincount(stratum[order_of(values)[:9]]).tolist() == [2, 4, 3]


@given(
    sizes=st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(lambda s: s[0] and s[-1]),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_every_beginning_is_what_the_algorithm_chooses(
    sizes: list[int], share: float, seed: int
) -> None:
    centres = np.arange(len(sizes)) + 0.5
    centres[0], centres[-1] = 0, len(sizes)  # the ends of the range
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    order = order_of(np.repeat(centres, sizes).tolist(), strata=len(sizes), seed=seed)
    assert sorted(order.tolist()) == list(range(sum(sizes)))
    budget = round(share * sum(sizes))
    chosen = np.bincount(stratum[order[:budget]], minlength=len(sizes))
    assert sorted(chosen) == sorted(budgets(sizes, budget))  # equal strata may change places


def test_the_hardest_are_cut_and_come_last_the_easiest_of_them_first() -> None:
    values = [5.0, 1.0, 9.0, 2.0, 7.0, 3.0, 8.0, 4.0]
    assert order_of(values, beta=0.4)[-3:].tolist() == [4, 6, 2]  # floor(3.2) are cut: 7, 8, 9


def test_images_of_one_value_are_one_stratum() -> None:
    assert sorted(order_of([1.0] * 5).tolist()) == [0, 1, 2, 3, 4]
    assert sorted(order_of([-1.7e308, 0.0, 1.7e308]).tolist()) == [0, 1, 2]


# Bins of four, two and one image: log10 of 1, 10 and 100, at a width of 0.25.
ENTROPIES = np.array([1.0, 1.1, 1.2, 1.3, 10.0, 11.0, 100.0])


@pytest.mark.parametrize(
    ("order", "each"),
    [
        ("p1", [1 / 32, 3 / 16, 1 / 2]),  # 1/4, 3/2 and 4, over 8
        ("p2", [1 / 12, 1 / 6, 1 / 3]),  # a third for each bin
        ("p3", [1 / 28, 1 / 7, 4 / 7]),  # 1/16, 1/4 and 1, over 7/4
    ],
)
def test_probabilities_by_hand(order: str, each: list[float]) -> None:
    found = entropy_probabilities(ENTROPIES, order, 0.25)
    assert found == pytest.approx(np.repeat(each, [4, 2, 1]))
    assert entropy_probabilities(ENTROPIES / 1000, order, 0.25) == pytest.approx(found)


def test_an_entropy_of_zero_has_a_bin() -> None:
    found = entropy_probabilities(np.array([0.0, 0.0, 0.5]), "p2", 0.25)
    assert found.tolist() == [0.25, 0.25, 0.5]


def test_the_first_image_drawn_is_distributed_as_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    orders = np.array([drawn_order(ENTROPIES, "p2", 0.25, generator) for _ in range(4000)])
    shares = np.bincount(orders[:, 0], minlength=7) / 4000
    # A standard error is at most sqrt(1/3 · 2/3 / 4000) = 0.0075.
    assert shares == pytest.approx(entropy_probabilities(ENTROPIES, "p2", 0.25), abs=0.03)
    assert (np.sort(orders, 1) == np.arange(7)).all()


@pytest.mark.parametrize("order", ["ccs", "p1", "p2", "p3"])
def test_a_class_keeps_its_share_and_a_smaller_subset_is_a_part(order: str) -> None:
    labels = np.arange(300) % 3
    values = np.random.default_rng(0).gamma(0.3, size=300)
    ccs = {"beta": 0.2, "strata": 9} if order == "ccs" else {}

    def kept(fraction: float, seed: int = 0) -> list[int]:
        config = SelectionConfig(measure="entropy", order=order, fraction=fraction, ccs=ccs)
        assert config.by_chance
        return select(labels, config, values, seed).tolist()

    assert np.bincount(labels[kept(0.1)]).tolist() == [10, 10, 10]
    assert set(kept(0.1)) < set(kept(0.3))
    assert kept(0.1) == kept(0.1) != kept(0.1, seed=1)


def test_the_cut_and_what_is_kept_are_at_most_a_class() -> None:
    settings = {"measure": "el2n", "order": "ccs", "fraction": 0.5, "architecture_fraction": 0.2}
    SelectionConfig(**settings, ccs={"beta": 0.3})
    with pytest.raises(ValidationError, match=r"leaves fewer images than the 0\.7 .* at most 0\.3"):
        SelectionConfig(**settings, ccs={"beta": 0.31})


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    more=st.integers(0, 20),
    seed=st.integers(0, 99),
)
def test_every_stratum_gives_an_image_if_as_many_are_kept_as_there_are_strata(
    sizes: list[int], more: int, seed: int
) -> None:
    centres = np.arange(len(sizes)) + 0.5
    centres[0], centres[-1] = 0, len(sizes)
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    order = order_of(np.repeat(centres, sizes).tolist(), strata=len(sizes), seed=seed)
    assert set(stratum[order[: len(sizes) + more]]) == {*range(len(sizes))}


@pytest.mark.parametrize(
    ("counts", "settings", "kept"),
    [
        ({"ant": 500, "bee": 200}, {}, 20),
        ({"ant": 500, "bee": 200}, {"architecture_fraction": 0.05}, 30),
        ({"ant": 500, "bee": 9}, {}, 2),  # at least one for each half of the search
    ],
)
def test_more_strata_than_images_kept_of_a_class_are_refused(
    counts: dict[str, int], settings: dict[str, float], kept: int
) -> None:
    def check(strata: int) -> None:
        ways = {"measure": "el2n", "order": "ccs", "fraction": 0.1, "ccs": {"strata": strata}}
        check_order(SelectionConfig(**ways | settings), counts, None)

    check(kept)
    message = f"found {kept + 1}, more than the {kept} images of class bee .* at most {kept}$"
    with pytest.raises(ConfigError, match=message):
        check(kept + 1)


@pytest.mark.parametrize(
    "measure", ["aum_high", "mean_low", "entropy_low", "score_low", "moderate", "cv", "std"]
)
def test_only_measures_of_difficulty_can_cut_the_hardest(measure: str) -> None:
    ways = {"measure": measure, "order": "ccs", "fraction": 0.1}
    assert SelectionConfig(**ways).ccs.beta == 0
    with pytest.raises(
        ValidationError, match=f"measure {measure}, whose .* allowed: 0, or measure"
    ):
        SelectionConfig(**ways, ccs={"beta": 0.3})
    for hard in OF_DIFFICULTY:
        assert SelectionConfig(**ways | {"measure": hard}, ccs={"beta": 0.3}).ccs.beta == 0.3


@pytest.mark.parametrize("width", [0.5, 0.25, 0.2])
def test_bins_are_those_of_the_authors_code_at_its_widths(width: float) -> None:
    """Theirs begin at the lowest log10, rounded to an integer, or below it by some widths."""
    entropies = 10 ** np.random.default_rng(0).uniform(-3.4, 0.3, 200)
    logs = np.log10(entropies)
    low = np.round(logs.min())
    while logs.min() < low:
        low -= width
    high = np.round(logs.max())
    while logs.max() > high:
        high += width
    edges = np.arange(low, high + width, width)
    counts = np.histogram(logs, edges)[0][np.digitize(logs, edges) - 1]
    expected = 1 / counts / (1 / counts).sum()
    assert entropy_probabilities(entropies, "p2", width) == pytest.approx(expected)

import re
from typing import Any

import pytest
import torch

from classification.errors import ConfigError
from evaluate import width
from evaluate.budget import BudgetConfig
from evaluate.complexity import Complexity, measure_complexity
from evaluate.retrain_config import RetrainConfig
from evaluate.width import LIGHTEST, check_budget, choose_width, measure_latency
from pcdarts.genotype import Genotype
from pcdarts.network import CifarNetwork
from pcdarts.published_genotypes import GENOTYPES

CPU = torch.device("cpu")
SMALL = RetrainConfig.model_validate({"cells": 3, "channels": 8})
IMAGENET = RetrainConfig.model_validate({"network": "imagenet"})


def counted(channels: int, image_size: int = 8) -> Complexity:
    """Complexity of the small network of DARTS v2, without auxiliary head, built directly."""
    return measure_complexity(
        lambda: CifarNetwork(GENOTYPES["darts_v2"], 10, channels, cells=3, auxiliary=False),
        image_size,
    )


def choose(limits: dict[str, Any], genotype: Genotype = GENOTYPES["darts_v2"]) -> tuple[int, int]:
    budget = BudgetConfig.model_validate(limits)
    chosen, following = choose_width(genotype, SMALL, 10, 8, budget, CPU)
    assert following is not None
    return chosen.channels, following.channels


def test_a_long_latency_is_met_by_the_widest_network_that_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(width, "WIDEST", 16)
    budget = BudgetConfig.model_validate({"latency": "1000s"})
    chosen, following = choose_width(GENOTYPES["darts_v2"], SMALL, 10, 8, budget, CPU)
    assert (chosen.channels, following) == (16, None)


@pytest.mark.parametrize("key", ["parameters", "multiply_adds"])
@pytest.mark.parametrize("channels", [2, 12])
def test_a_budget_is_hit_exactly(key: str, channels: int) -> None:
    needs = getattr(counted(channels), key)
    assert choose({key: needs}) == (channels, channels + 2)
    assert choose({key: getattr(counted(channels + 2), key) - 1}) == (channels, channels + 2)
    if channels > 2:
        assert choose({key: needs - 1}) == (channels - 2, channels)


def test_the_tightest_limit_decides() -> None:
    limits = {"parameters": counted(14).parameters, "multiply_adds": counted(12).multiply_adds}
    assert choose(limits) == (12, 14)


def test_the_published_imagenet_network_is_the_widest_of_its_size() -> None:
    # 48 channels have 5,270,560 parameters and 571.1 M multiply-adds at 224 × 224.
    budget = BudgetConfig.model_validate({"parameters": 5_270_560, "multiply_adds": "571.2M"})
    genotype = GENOTYPES["pcdarts_cifar10"]
    chosen, following = choose_width(genotype, IMAGENET, 1000, 224, budget, CPU)
    assert (chosen.channels, chosen.complexity.parameters) == (48, 5_270_560)
    assert following is not None
    assert (following.channels, following.complexity.parameters > 5_270_560) == (50, True)


def test_a_budget_below_the_narrowest_network_is_refused_in_one_line() -> None:
    narrowest = counted(2).parameters
    message = (
        f"budget.parameters: {narrowest - 1:,} is below the {narrowest:,} of the narrowest network "
        "(2 channels, 3 cells); allowed: at least that, or fewer retrain.cells"
    )
    budget = BudgetConfig(parameters=narrowest - 1)
    for check in (choose_width, check_budget):
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            check(GENOTYPES["darts_v2"], SMALL, 10, 8, budget, CPU)


def test_before_the_search_the_lightest_genotype_is_checked() -> None:
    lightest = measure_complexity(lambda: CifarNetwork(LIGHTEST, 10, 2, 3, auxiliary=False), 8)
    assert lightest.parameters < counted(2).parameters
    check_budget(None, SMALL, 10, 8, BudgetConfig(parameters=lightest.parameters), CPU)
    with pytest.raises(ConfigError, match=r"^budget\.parameters"):
        check_budget(None, SMALL, 10, 8, BudgetConfig(parameters=lightest.parameters - 1), CPU)


def test_the_latency_of_the_chosen_network_is_within_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = []

    def one_millisecond_a_channel(network: CifarNetwork, image_size: int, device: Any) -> float:
        measured.append(network.cells[0].preprocess1[1].out_channels)
        return float(measured[-1])

    monkeypatch.setattr(width, "measure_latency", one_millisecond_a_channel)
    assert choose({"latency": "13.9ms"}) == (12, 14)
    assert len(measured) == len(set(measured))  # each width is measured once
    measured.clear()
    assert choose({"latency": "50ms", "parameters": counted(10).parameters}) == (10, 12)
    assert max(measured) == 10  # networks above another limit are not measured
    with pytest.raises(ConfigError, match=r"^budget\.latency: 1ms is below the 2ms of the narrow"):
        choose({"latency": "1ms"})
    with pytest.raises(ConfigError, match=r"^budget\.latency: 0\.00001ms is below the 2ms of the"):
        choose({"latency": "0.00001ms"})


def test_latency_is_measured_in_inference_mode_and_leaves_the_generator_alone() -> None:
    seen: list[tuple[bool, bool, tuple[int, ...]]] = []

    class Probe(torch.nn.Conv2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((self.training, torch.is_inference_mode_enabled(), tuple(images.shape)))
            return super().forward(images)

    assert measure_latency(Probe(3, 2, 1), 8, CPU) > 0
    assert len(seen) == 30  # 25 after 5 to warm up
    assert set(seen) == {(False, True, (1, 3, 8, 8))}
    before, limits = torch.get_rng_state(), {"parameters": 3000, "latency": "1000s"}
    choose_width(LIGHTEST, SMALL, 10, 8, BudgetConfig.model_validate(limits), CPU)
    assert torch.equal(torch.get_rng_state(), before)

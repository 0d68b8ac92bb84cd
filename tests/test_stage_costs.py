"""The benchmark of stage costs times whole steps: what the pipeline's stages do to a batch."""

import pytest
import torch

from benchmarks import stage_costs
from classification.config import ClassifierConfig
from classification.mixing import DCutMix
from pcdarts.search_config import SearchConfig
from pcdarts.steps import SearchSteps

CPU = torch.device("cpu")


def test_a_step_of_the_scorer_augments_mixes_and_updates(monkeypatch):
    mixed, mix = [], DCutMix.mix
    monkeypatch.setattr(DCutMix, "mix", lambda *given: mixed.append(1) or mix(*given))
    training = stage_costs.ScorerTraining(ClassifierConfig(model="resnet8", batch_size=4), CPU)
    before = [weight.detach().clone() for weight in training.model.parameters()]
    training.step()
    assert len(mixed) == 1
    pairs = zip(training.model.parameters(), before, strict=True)
    assert any(not torch.equal(weight, old) for weight, old in pairs)


def test_steps_times_images_are_those_of_the_stage(monkeypatch):
    """100 images: of 4 a training batch 25 steps an epoch; of 102 anchors a scoring batch one."""
    monkeypatch.setattr(stage_costs, "IMAGES", 100)
    config = ClassifierConfig(model="resnet8", batch_size=4, epochs=3)
    training, scores = stage_costs.scorer_stages("x", config, CPU).values()
    assert (training.steps, scores.steps) == (75, 1)


def test_a_search_step_trains_alpha_after_the_warm_up_alone(monkeypatch):
    made = []
    for kind in ("architecture", "weights"):
        monkeypatch.setattr(SearchSteps, kind, lambda *_, kind=kind: made.append(kind))
    config = SearchConfig(channels=4, cells=3, batch_size=4, epochs=3, warmup_epochs=1)
    after, warm_up, *_ = stage_costs.search_stages(config, CPU).values()
    after.step()
    assert made == ["architecture", "weights"]
    warm_up.step()
    assert made[2:] == ["weights"]
    assert after.steps == pytest.approx(2 * warm_up.steps)

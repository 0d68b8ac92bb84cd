"""What a stage would refuse is refused before the first stage starts."""

import pytest
import torch

from classification.classifier import never_seen, train_classifier
from classification.data.datasets import load_dataset
from classification.errors import PipelineError
from classification.persistence.workspace import Workspace
from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
from pipeline.config import load_config
from pipeline.inputs import check_inputs, load_datasets
from subsample.config import LossesConfig
from subsample.uncertainty import recorded_losses
from tests.tiny import Place

CPU = torch.device("cpu")
NETWORK = """
name: small
data:    {kind: digits, classes: 3, images_per_class: 11}
scorer:  {model: resnet8, epochs: 2, batch_size: 16, mixing: {kind: none}}
scores:  {draws: 2}
subset:  {fraction: 0.9}
search:  {batch_size: 4}
retrain: {batch_size: 8}
"""


TWO_LISTS = "{measure: random, fraction: 0.96, architecture_fraction: 0.04}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["retrain.validation_fraction=0.96"],
            r"retrain\.validation_fraction: 0\.96 holds out all of the 11 images of class 0",
        ),
        (  # 3 · round(0.8 · 11) = 27 of 33 images
            ["retrain.validation_fraction=0.8"],
            r"retrain\.batch_size: 8 exceeds .* 33 .* holds out 27; allowed: at most 6",
        ),
        (
            [
                "goal=subset",
                "subset={measure: random, fraction: 0.96, architecture_fraction: 0.04}",
            ],
            r"subset\.architecture_fraction: 0\.04 finds none of the 11 images",
        ),
        (
            ["goal=ranking", "fidelity.training.precision=bf16", "fidelity.training.batch_size=8"],
            r"fidelity\.training\.precision: found 'bf16' on a cpu",
        ),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_first(tmp_path, overrides, message):
    (tmp_path / "small.yaml").write_text(NETWORK)
    config = load_config(tmp_path / "small.yaml", overrides)
    with pytest.raises(PipelineError, match=message):
        check_inputs(config, load_datasets(config), CPU)


def test_an_image_that_no_epoch_sees_is_known_ahead(tmp_path):
    """33 = 2 · 16 + 1, so an epoch leaves one image out; with some seeds both the same."""
    (tmp_path / "small.yaml").write_text(NETWORK)
    config = load_config(tmp_path / "small.yaml", ["scorer.record_losses=true"])
    data = load_dataset(config.data)
    rows = {seed: never_seen(config.scorer, 33, seed) for seed in range(200)}
    seed, row = next((seed, row) for seed, row in rows.items() if row is not None)
    assert rows[0] is None
    for each, allowed in ((0, True), (seed, False)):
        place = Workspace(tmp_path / str(each))
        train_classifier(data, config.scorer, seed=each, device=CPU, workspace=place)
        record = (place.path(TRAINING_LOSSES), place.path(TRAINING_ENTROPIES))
        chosen = load_config(
            tmp_path / "small.yaml",
            ["scorer.record_losses=true", "scores.source=training", f"seed={each}"],
        )
        if allowed:
            check_inputs(chosen, load_datasets(chosen), CPU)
            assert recorded_losses(*record, LossesConfig(draws=2)).shape == (33, 2)
            continue
        with pytest.raises(PipelineError, match=f"training image {row} is in none of the"):
            check_inputs(chosen, load_datasets(chosen), CPU)
        with pytest.raises(PipelineError, match=f"training image {row} is in no recorded epoch"):
            recorded_losses(*record, LossesConfig(draws=2))


@pytest.mark.parametrize(
    ("options", "status"), [([], 2), (["--until", "subset"], 0), (["--only", "search"], 2)]
)
def test_only_the_stages_that_run_are_checked(tmp_path, capsys, options, status):
    """The subset of 30 images has no batch of 40."""
    place = Place(tmp_path, NETWORK)
    assert place.run("search.batch_size=40", options=["--dry-run", *options]) == status
    assert ("search.batch_size: 40" in capsys.readouterr().err) == bool(status)

import numpy as np
import pytest
from pydantic import ValidationError

from classification.errors import PipelineError
from classification.training.recorded_losses import TRAINING_ENTROPIES, TRAINING_LOSSES
from subsample.config import ScoresConfig
from subsample.uncertainty import recorded_losses


def write_record(folder, losses, entropies):
    paths = folder / TRAINING_LOSSES, folder / TRAINING_ENTROPIES
    for path, values in zip(paths, (losses, entropies), strict=True):
        np.save(path, np.array(values, np.float32))
    return paths


def test_draws_are_the_last_epochs_and_an_absence_is_the_mean_of_the_others(tmp_path):
    nan = float("nan")
    losses = [[9, 1, 2, 3], [9, 4, nan, 6], [7, 5, nan, nan]]
    entropies = [[0, 1, 1, 1], [0, 1, nan, 2], [1, 2, nan, nan]]
    paths = write_record(tmp_path, losses, entropies)
    config = ScoresConfig(source="training", draws=3)
    found = recorded_losses(*paths, config)
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 2, 3], [4, 5, 6], [5, 5, 5]]
    kl = recorded_losses(*paths, ScoresConfig(source="training", draws=3, loss="kl"))
    assert kl.tolist() == [[0, 1, 2], [3, 3.5, 4], [3, 3, 3]]
    two = recorded_losses(*paths, ScoresConfig(source="training", draws=2))
    assert two.tolist() == [[2, 3], [6, 6], [6, 6]]  # the last one's of all its epochs


@pytest.mark.parametrize("settings", [{"loss": "anchor_ce"}, {"common_draws": True}])
def test_what_no_record_holds_is_refused(settings):
    with pytest.raises(ValidationError, match="with source: training"):
        ScoresConfig(source="training", **settings)
    ScoresConfig(source="pass", **settings)


def test_an_image_of_which_nothing_was_recorded_is_named(tmp_path):
    nan = float("nan")
    paths = write_record(tmp_path, [[1, 2], [nan, nan]], [[0, 0], [nan, nan]])
    with pytest.raises(PipelineError, match=r"scores\.source: training image 1 is in no recorded"):
        recorded_losses(*paths, ScoresConfig(source="training", draws=2))

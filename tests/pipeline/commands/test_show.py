import pytest
import torch

from classification.errors import ArtifactError, ConfigError
from classification.models import build_classifier
from classification.models.weights import save_classifier_weights
from pipeline.commands.show import show

CONFIG = """
name: shown
data: {kind: digits, classes: 3, images_per_class: 30}
scorer: {model: resnet8, epochs: 1, batch_size: 16, mixing: {kind: dcutmix, num_images: 3, prob: 0}}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "shown.yaml"
    path.write_text(CONFIG)
    return path


def draw(config, *kinds, overrides=(), columns=2, name="sheet.png", scores=False):
    output = config.parent / name
    artifacts = config.parent / "artifacts"
    artifacts.mkdir(exist_ok=True)
    show(config, output, kinds, overrides, columns, artifacts, scores)
    return output.read_bytes()


def test_it_draws_the_configs_own_mixer_on_a_batch_that_is_mixed(config):
    own = draw(config)
    assert own == draw(config, "dcutmix")
    assert own != draw(config, "cutout")


def test_the_picture_follows_from_the_seed(config):
    assert draw(config) == draw(config)
    assert draw(config) != draw(config, overrides=["seed=1"])


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "dmixup", "saliency_dcutmix"])
def test_every_mixer_that_needs_no_network_is_drawn(config, kind):
    assert draw(config, kind, "dcutmix")


@pytest.mark.parametrize("kind", ["none", "manifold_mixup", "mosaic"])
def test_what_shows_nothing_is_refused(config, kind):
    with pytest.raises(ConfigError, match=f"--mixer: found '{kind}'; allowed: cutout, mixup"):
        draw(config, kind)


@pytest.mark.parametrize("columns", [0, 7])
def test_columns_out_of_range_are_refused(config, columns):
    with pytest.raises(ConfigError, match="--columns"):
        draw(config, columns=columns)


def test_a_name_that_is_no_picture_is_refused(config):
    with pytest.raises(ConfigError, match="found suffix"):
        draw(config, name="sheet.txt")


def test_a_mixer_of_the_networks_gradients_asks_for_the_trained_scorer(config):
    with pytest.raises(ArtifactError, match="needs the trained scorer for its saliency"):
        draw(config, "puzzlemix")


def test_the_scorer_is_asked_for_where_the_subset_needs_none(config):
    with pytest.raises(ArtifactError, match="needs the trained scorer for its saliency"):
        draw(config, "puzzlemix", overrides=["subset.measure=random"])


def test_a_mixer_of_the_networks_gradients_is_drawn_with_loaded_weights(config):
    torch.manual_seed(0)
    weights = config.parent / "scorer.safetensors"
    save_classifier_weights(build_classifier("resnet8", 3), weights)
    own = "scorer.normalization={mean: [0.1, 0.2, 0.3], std: [0.5, 0.5, 0.5]}"
    assert draw(config, "puzzlemix", overrides=[f"scorer.weights={weights}", own])


def test_the_mixes_of_the_scores_are_drawn_with_their_anchor_and_fraction(config, capsys):
    """Of 8 × 8 pixels the other image's box, of 7/16, hides 5 × 5 of a canvas and leaves 61 %; as
    a patch of 9/16 the scored image has 6 × 6, 56 %, which cover the middle wherever they are."""
    fixed = "scores={draws: 10, num_images: 2, anchor_fraction: 0.5625}"
    drawn = [
        draw(config, overrides=[fixed, f"scores.anchor={anchor}"], scores=True)
        for anchor in ("canvas", "patch")
    ]
    canvas, patch = capsys.readouterr().out.splitlines()[::2]
    assert drawn[0] != drawn[1]
    shown = "of the scored image's pixels, and "
    assert canvas.startswith(f"Mixes show 61 % {shown}")
    assert "100 % of those in its middle" not in canvas
    assert patch == f"Mixes show 56 % {shown}100 % of those in its middle; over 900 mixes"


@pytest.mark.parametrize(
    ("override", "found"),
    [("scores.source=training", "scores.source: training"), ("scores.file=s.npy", "scores.file")],
)
def test_scores_without_mixes_of_their_own_are_refused(config, override, found):
    with pytest.raises(ConfigError, match=f"--scores: found {found}"):
        draw(config, overrides=[override, "scorer.record_losses=true"], scores=True)

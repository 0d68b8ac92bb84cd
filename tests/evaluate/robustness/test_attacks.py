"""FGSM and PGD against closed forms, within their ball, at their cost, leaving the model alone."""

import copy
import gc
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from classification.data.loaders import ImageSet
from classification.data.transforms import Normalization
from classification.models import build_classifier
from classification.persistence.workspace import Workspace
from classification.seeding import seeded
from evaluate.figures.robustness import robustness_curves
from evaluate.robustness import measure
from evaluate.robustness.attacks import Attack, Attacker, PixelModel, untouched
from evaluate.robustness.config import RobustnessConfig
from evaluate.robustness.distribution_shift import ShiftConfig, shift_measures
from evaluate.robustness.measure import Source, choose_images, measure_robustness

pytest.importorskip("art", reason="the robustness extra is not installed")

PLAIN = Normalization((0.0,) * 3, (1.0,) * 3)
ODD = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
ROUNDING = 2e-7  # of float32 near 1


class Linear(nn.Module):
    """logits = w₁·x, w₀·x of all 3·2·2 pixels: the loss's gradient has the sign of w₀ - w₁."""

    def __init__(self, weight):
        super().__init__()
        self.fc = nn.Linear(12, len(weight), bias=False)
        self.fc.weight.data = weight

    def forward(self, images):
        return self.fc(images.flatten(1))


def linear(classes=2):
    with seeded(3, "test"):
        weight, pixels = torch.randn(classes, 12), torch.rand(40, 3, 2, 2)
    model = PixelModel(Linear(weight), PLAIN)
    return model, weight, pixels, model(pixels).argmax(1)


def small(norm=ODD):
    """A ResNet-8 with BatchNorm statistics of its own, and pixels [12, 3, 8, 8]."""
    with seeded(5, "test"):
        model = build_classifier("resnet8", 3)
        model(torch.randn(64, 3, 8, 8))
        return PixelModel(model.eval(), norm), torch.rand(12, 3, 8, 8), torch.arange(12) % 3


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_a_linear_model_is_attacked_as_the_closed_form_says(name):
    """Two classes: sign(w_other - w_true) · ε, clipped; 10 steps of ε/4 reach it from any start."""
    model, weight, pixels, labels = linear()
    epsilon = 8 / 255
    direction = (weight[1 - labels] - weight[labels]).sign().reshape(pixels.shape)
    expected = (pixels + epsilon * direction).clamp(0, 1)
    attack = Attack(name, epsilon, step=2 / 255, steps=10)
    with untouched(model):
        found = Attacker(model, 2, 2).attack(pixels, labels, attack, seed=0)
    torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)


def test_the_share_that_stands_is_that_of_the_margins():
    """Before clipping, an image falls if its margin is under ε · |w₀ - w₁|₁."""
    model, weight, pixels, labels = linear()
    pixels = 0.25 + pixels / 2  # far from 0 and 1
    labels = model(pixels).argmax(1)
    logits = model(pixels).detach()
    margin = logits.gather(1, labels[:, None])[:, 0] - logits.gather(1, 1 - labels[:, None])[:, 0]
    epsilon = float(margin.median() / (weight[0] - weight[1]).abs().sum())
    with untouched(model):
        found = Attacker(model, 2, 2).attack(pixels, labels, Attack("fgsm", epsilon), seed=0)
    standing = margin > margin.median() + 1e-5
    assert torch.equal((model.predict(found) == labels)[standing], torch.ones(20, dtype=bool))
    assert int((model.predict(found) == labels).sum()) in (20, 21)  # the median itself: a tie


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("epsilon", [0.5 / 255, 8 / 255, 1.0])
def test_no_attack_leaves_the_ball_or_the_range_of_pixels(name, epsilon):
    model, pixels, labels = small()
    pixels = (2 * pixels - 0.5).clamp(0, 1)  # many at either end
    with untouched(model):
        found = Attacker(model, 3, 8).attack(pixels, labels, Attack(name, epsilon), seed=0)
    assert float((found - pixels).abs().max()) <= epsilon + ROUNDING
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert not torch.equal(found, pixels)


def test_the_model_is_afterwards_as_before():
    """BatchNorm's statistics, modes (of one module apart), requires_grad, gradients, both rngs."""
    model, pixels, labels = small()
    model.train()
    model.model.layer1.eval()
    weights = list(model.parameters())
    weights[0].requires_grad_(False)
    weights[1].grad = torch.full_like(weights[1], 7.0)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    numbers = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    with untouched(model):
        Attacker(model, 3, 8).attack(pixels, labels, Attack("pgd", 0.03, restarts=2), seed=0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [weight.requires_grad for weight in weights] == [False] + [True] * (len(weights) - 1)
    assert torch.equal(weights[1].grad, torch.full_like(weights[1], 7.0))
    assert all(weight.grad is None for weight in weights[2:])
    assert np.array_equal(np.random.get_state()[1], numbers[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), numbers[1])


class Counting(nn.Module):
    """Images that went forward and backward."""

    def __init__(self, model):
        super().__init__()
        self.model, self.forwards, self.backwards = model, 0, 0

    def forward(self, images):
        self.forwards += len(images)
        output = self.model(images)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, gradient):
        self.backwards += len(gradient)


def test_pgd_10_costs_at_most_eleven_and_a_half_passes_an_image():
    """10 forward-backward passes; ART looks twice how it succeeded, and the result is judged."""
    inner, pixels, labels = small()
    counting = Counting(inner.model)
    model = PixelModel(counting, ODD)
    attack = Attack("pgd", 8 / 255, steps=10)
    with untouched(model):
        model.predict(Attacker(model, 3, 8).attack(pixels, labels, attack, seed=0))
    assert counting.backwards == 10 * len(pixels)
    assert (counting.forwards + counting.backwards) / 2 <= 11.5 * len(pixels)


def test_starts_follow_from_seed_and_place():
    model, pixels, labels = small()
    attack = Attack("pgd", 8 / 255, steps=1)
    with untouched(model):
        attacker = Attacker(model, 3, 8)
        first, again, elsewhere, other = (
            attacker.attack(pixels, labels, attack, seed, place)
            for seed, place in ((0, 0), (0, 0), (0, 1), (1, 0))
        )
    assert torch.equal(first, again)
    assert not torch.equal(first, elsewhere)
    assert not torch.equal(first, other)


def test_restarts_leave_what_has_fallen_and_never_help_the_classifier():
    model, pixels, _ = small()
    labels = model.predict(pixels)
    with untouched(model):
        attacker = Attacker(model, 3, 8)
        once, thrice = (
            attacker.attack(pixels, labels, Attack("pgd", 4 / 255, 1 / 255, 2, restarts), 0)
            for restarts in (1, 3)
        )
    standing = model.predict(once) == labels
    assert standing.any()
    assert torch.equal(once[~standing], thrice[~standing])
    assert not torch.equal(once[standing], thrice[standing])
    assert (model.predict(thrice) == labels).sum() <= standing.sum()


def measured(folder, config, progress=None, shift=None):
    """White-box and, of another seed, gray-box, over 30 images whose labels the model gives."""
    target, _, _ = small()
    with seeded(9, "test"):
        images = (256 * torch.rand(30, 3, 8, 8)).byte()
        substitute = PixelModel(build_classifier("resnet8", 3).eval(), ODD)
    test = ImageSet(images, target.predict(images.float() / 255))
    sources = [Source("white-box", "resnet8", target), Source("gray-box", "resnet8", substitute)]
    workspace = Workspace(folder, *([progress] if progress else []))
    chosen = choose_images(test, config.images, seed=0)
    measures = {"strange": shift} if shift else {}
    return measure_robustness(sources, chosen, 3, config, measures, seed=0, workspace=workspace)


def test_accuracy_falls_with_epsilon_and_is_clean_without_an_attack(tmp_path):
    config = RobustnessConfig(epsilons=("1/255", "8/255", "32/255"), batch_size=16, steps=5)
    result = measured(tmp_path, config)
    assert result["images"] == 30
    assert result["clean"] == {"accuracy": 1.0, "correct": 30, "images": 30}
    assert [(each["kind"], each["attack"]) for each in result["attacks"]] == [
        *(("white-box", "fgsm"), ("white-box", "pgd"), ("gray-box", "fgsm"), ("gray-box", "pgd"))
    ]
    for attack in result["attacks"]:
        correct = [point["correct"] for point in attack["curve"]]
        assert [point["epsilon"] for point in attack["curve"]] == [1 / 255, 8 / 255, 32 / 255]
        noise = 0 if attack["kind"] == "white-box" else 3
        assert all(after <= before + noise for before, after in pairwise(correct))
    white = {each["attack"]: each["curve"] for each in result["attacks"][:2]}
    gray = {each["attack"]: each["curve"] for each in result["attacks"][2:]}
    assert white["pgd"][1]["correct"] <= white["fgsm"][1]["correct"] < 30
    assert white["pgd"][1]["correct"] < gray["pgd"][1]["correct"]
    names = robustness_curves(result).axes[0].get_legend_handles_labels()[1]
    assert names[0] == "FGSM, white-box (n = 30)"
    assert names[3] == "PGD, gray-box from resnet8 (n = 30)"


def test_work_that_was_stopped_goes_on_from_its_batch(tmp_path):
    config = RobustnessConfig(epsilons=(8 / 255,), batch_size=10, steps=2, images=25)

    def strange():
        return {"aupr": 0.5}

    def stop(done, total, unit, **metrics):
        assert (total, unit) == (25, "image")
        if done == 20:
            raise KeyboardInterrupt

    whole = measured(tmp_path / "whole", config, shift=strange)
    assert whole["shift"] == {"strange": {"aupr": 0.5}}
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "part", config, stop)
    seen = []
    resumed = measured(tmp_path / "part", config, lambda done, *_, **__: seen.append(done), strange)
    assert seen == [25, 1]
    assert resumed == whole
    rows = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "part")]
    assert rows[0] == rows[1]
    other = measured(tmp_path / "part", config.model_copy(update={"images": 5}))
    assert other["images"] == 5


def test_images_are_drawn_once_each_and_memory_is_that_of_a_batch(tmp_path, monkeypatch):
    """Whatever the dataset's size, no batch that is attacked has more than `batch_size` images."""
    images = ImageSet(torch.zeros(50, 3, 8, 8, dtype=torch.uint8), torch.arange(50))
    chosen = choose_images(images, 20, seed=1).labels.tolist()
    assert sorted(set(chosen)) == chosen
    assert chosen != choose_images(images, 20, seed=2).labels.tolist()
    assert choose_images(images, 60, seed=1) is images
    sizes, honest = [], Attacker.attack
    monkeypatch.setattr(
        measure.Attacker,
        "attack",
        lambda self, pixels, *rest: sizes.append(len(pixels)) or honest(self, pixels, *rest),
    )
    measured(tmp_path, RobustnessConfig(attacks=("fgsm",), epsilons=(0.1,), batch_size=12))
    assert sizes == [12, 12, 12, 12, 6, 6]


def test_nothing_is_kept_of_batches_that_are_done_and_progress_is_shown_after_each(tmp_path):
    """Tensors that live between batches take the same bytes after the first and after the last."""
    held, shown = [], []

    def progress(done, total, unit, **metrics):
        gc.collect()
        held.append(sum(each.nbytes for each in gc.get_objects() if type(each) is torch.Tensor))
        shown.append((done, total, unit, metrics["images_per_second"] > 0))

    config = RobustnessConfig(attacks=("pgd",), epsilons=(0.1,), batch_size=6, steps=1)
    measured(tmp_path, config, progress)
    assert shown == [(done, 30, "image", True) for done in (6, 12, 18, 24, 30)]
    assert len(set(held)) == 1


def test_nothing_from_elsewhere_is_measured_unasked():
    assert shift_measures(small()[0], None, ShiftConfig(), 8) == {}

"""Losses around trained weights: against parabolas, the evaluation, and an interrupted run."""

import math
from statistics import stdev

import pytest
import torch
from pydantic import ValidationError
from test_hessian import bowl, small_risk
from torch import nn

from classification import extras
from classification.data.datasets import DataConfig, load_dataset
from classification.data.strata import balanced_indices
from classification.errors import ConfigError
from classification.models import build_classifier
from classification.persistence.workspace import Workspace
from classification.seeding import make_generator
from classification.training.trainer import evaluate, to_device
from evaluate.landscape.config import LandscapeConfig, check_landscape
from evaluate.landscape.directions import eigenvector_direction, gaussian_noise, random_direction
from evaluate.landscape.empirical_risk import EmpiricalRisk
from evaluate.landscape.hessian import Hessian
from evaluate.landscape.measure import landscape, measure

DEVICE = torch.device("cpu")
SHORT = {"points": 5, "plane_points": 3, "noise": (0.1, 0.3), "noise_draws": 3}
SHORT |= {"eigenvalues": 2, "trace_draws": 2, "batch_size": 16, "images": 30}


def config(**changes):
    return LandscapeConfig(**{**SHORT, **changes})


def bits(model):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    return state, flags, {name: m.training for name, m in model.named_modules()}


def same(before, after):
    state, *rest = before
    now, *others = after
    return rest == others and all(torch.equal(state[n], now[n]) for n in state)


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(kind="digits", classes=3, images_per_class=24))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = to_device(build_classifier("resnet8", 3), DEVICE)
    model(torch.randn(16, 3, 8, 8))
    return model


def test_along_a_direction_a_bowl_is_exactly_its_parabola(tmp_path):
    """½ Σ cᵢ (wᵢ + α dᵢ - 1)² by hand, d the drawn direction."""
    risk = bowl()
    found = measure(risk, config(points=9, radius=2), seed=3, workspace=Workspace(tmp_path))
    weights = risk.weights
    drawn = random_direction(weights, make_generator(3, "landscape-direction"))
    (start,), (direction,) = weights.values(), drawn.values()
    assert float(direction.norm()) == pytest.approx(float(start.norm()))
    curvatures = torch.tensor([4.0, 1.0, 0.5]).double()
    assert found["line"]["alphas"] == [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    for alpha, loss in zip(found["line"]["alphas"], found["line"]["losses"], strict=True):
        expected = 0.5 * (curvatures * (start[0] + alpha * direction[0] - 1) ** 2).sum()
        assert loss == pytest.approx(float(expected), rel=1e-6)


def test_the_plane_of_a_bowl_runs_along_its_steepest_axes(tmp_path):
    """Loss ½ Σ cᵢ (wᵢ - 1)² from w = (3, -2, 0.5), a unit of the plane |w| long."""
    settings = config(plane_radius=0.5)
    found = measure(bowl(), settings, seed=0, workspace=Workspace(tmp_path))
    length = math.sqrt(9 + 4 + 0.25)
    plane, ends = found["plane"], (-0.5 * length, 0, 0.5 * length)
    assert plane["alphas"] == plane["betas"] == [-0.5, 0, 0.5]
    for row, first in zip(plane["losses"], ends, strict=True):
        for loss, second in zip(row, ends, strict=True):
            expected = 2 * (2 + first) ** 2 + 0.5 * (-3 + second) ** 2 + 0.25 * 0.25
            assert loss == pytest.approx(expected, rel=1e-6)
    assert found["hessian"]["eigenvalues"] == pytest.approx([4, 1])
    assert found["hessian"]["trace"] == pytest.approx(5.5)
    assert found["hessian"]["trace_error"] == pytest.approx(0, abs=1e-9)
    assert found["hessian"]["parameters"] == 3


def test_filters_of_a_direction_are_as_long_as_the_networks_and_biases_stay(model):
    weights = {name: p.detach() for name, p in model.named_parameters()}
    direction = random_direction(weights, make_generator(0, "any"))
    assert set(direction) == set(weights)
    for name, weight in weights.items():
        if weight.ndim == 1:
            assert not direction[name].any()
        else:
            lengths = direction[name].flatten(1).norm(dim=1)
            assert torch.allclose(lengths, weight.flatten(1).norm(dim=1), rtol=1e-5)


def test_a_filter_scaled_is_disturbed_in_proportion(model):
    """So that a network that computes the same, its filters scaled, has the same landscape."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    scaled = {name: 3 * weight for name, weight in weights.items()}
    for kind, factor in (("filter", 3.0), ("absolute", 1.0)):
        once, again = (gaussian_noise(w, make_generator(0, "n"), kind) for w in (weights, scaled))
        assert all(torch.allclose(again[n], factor * once[n], rtol=1e-5) for n in weights)
    noise = gaussian_noise(weights, make_generator(0, "n"), "filter")["layer3.0.conv2.weight"]
    root = weights["layer3.0.conv2.weight"].square().mean().sqrt()
    assert float(noise.square().mean().sqrt() / root) == pytest.approx(1, rel=0.02)


def test_an_eigenvector_keeps_its_shape_and_its_sign_is_no_chance():
    weights = {"w": torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "b": torch.zeros(2)}
    vector = torch.tensor([0.0, 0.6, 0.0, 0.0, -0.8, 0.0])
    one, other = (eigenvector_direction(v, weights) for v in (vector, -vector))
    assert one["w"].tolist() == other["w"].tolist() == [[0, -3], [0, 0]]
    assert one["b"].tolist() == [4, 0]


def test_the_middle_is_what_evaluation_says(digits, model, tmp_path):
    settings = config(images=1000, plane_points=0, eigenvalues=0, trace_draws=0)
    found = landscape(model, digits, settings, seed=0, device=DEVICE, workspace=Workspace(tmp_path))
    judged = evaluate(model, digits.test.loader(64, DEVICE, training=False), digits.normalization)
    assert found["images"] == len(digits.test)
    assert found["trained"]["loss"] == pytest.approx(judged.loss, rel=1e-6)
    assert found["trained"]["accuracy"] == judged.top1_accuracy
    assert found["line"]["losses"][2] == found["trained"]["loss"]
    assert found["plane"] is found["hessian"] is None


@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_model_changes(digits, model, tmp_path, training):
    model.train(training)
    model.layer2.eval()  # each module's own mode is kept
    model.fc.bias.requires_grad_(False)
    before, random = bits(model), torch.get_rng_state()
    settings = config(images=8, trace_draws=1, noise_draws=1)
    landscape(model, digits, settings, seed=0, device=DEVICE, workspace=Workspace(tmp_path))
    assert same(before, bits(model))
    assert torch.equal(random, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_more_than_a_batch_of_the_images_is_shown_at_once(digits, model, tmp_path):
    """30 of all test images in batches of 16, whatever is measured."""
    sizes = set()
    model.register_forward_pre_hook(lambda _, shown: sizes.add(len(shown[0])))
    landscape(model, digits, config(), seed=0, device=DEVICE, workspace=Workspace(tmp_path))
    assert sizes == {16, 14}


def test_batches_of_any_size_give_the_same_landscape(tmp_path):
    whole, images, labels = small_risk()
    parts = measure(whole, config(), seed=0, workspace=Workspace(tmp_path / "parts"))
    risk = EmpiricalRisk(whole.module.model, [(images, labels)], len(labels))
    once = measure(risk, config(), seed=0, workspace=Workspace(tmp_path / "once"))
    for part, name in (("line", "losses"), ("noise", "loss_means"), ("noise", "accuracy_means")):
        assert parts[part][name] == pytest.approx(once[part][name], rel=1e-5)
    assert parts["hessian"]["eigenvalues"] == pytest.approx(once["hessian"]["eigenvalues"])
    assert parts["hessian"]["trace"] == pytest.approx(once["hessian"]["trace"])


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    risk, _, _ = small_risk(6)
    return measure(risk, config(), seed=0, workspace=Workspace(tmp_path_factory.mktemp("straight")))


@pytest.mark.parametrize("stop", [1, 10, 21])
def test_a_stopped_measurement_ends_bit_for_bit(straight, tmp_path, monkeypatch, stop):
    risk, _, _ = small_risk(6)

    def progress(done, total, unit, **metrics):
        if unit == "point":
            assert total == 5 + 9 + 6 + 2
            if done == stop:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(risk, config(), seed=0, workspace=Workspace(tmp_path, progress))
    monkeypatch.setattr(Hessian, "top", lambda *arguments: pytest.fail("found before"))
    told = []
    workspace = Workspace(tmp_path, lambda done, *rest, **metrics: told.append(done))
    assert measure(risk, config(), seed=0, workspace=workspace) == straight
    assert told == list(range(stop + 1, 23))


def test_progress_is_shown_after_every_product_and_every_point(tmp_path):
    """A line of 5, a plane of 9, two σ of 3 draws each, two draws of the trace: 22 points."""
    shown = []
    workspace = Workspace(tmp_path, lambda *each, **_: shown.append(each))
    measure(small_risk()[0], config(), seed=0, workspace=workspace)
    products = [each for each in shown if each[2] == "product"]
    points = [each for each in shown if each[2] == "point"]
    assert shown == products + points
    assert [done for done, _, _ in products] == list(range(1, len(products) + 1))
    assert all(done <= total for done, total, _ in products)
    assert points == [(done, 22, "point") for done in range(1, 23)]


def test_noise_is_averaged_over_its_draws(tmp_path):
    risk, _, _ = small_risk()
    settings = config(noise=(0.2,), plane_points=0, eigenvalues=0, trace_draws=0)
    found = measure(risk, settings, seed=5, workspace=Workspace(tmp_path))["noise"]
    losses = []
    for draw in range(3):
        drawn = make_generator(5, "landscape-noise", draw)
        noise = gaussian_noise(risk.weights, drawn, "filter")
        moved = {name: weight + 0.2 * noise[name] for name, weight in risk.weights.items()}
        losses.append(risk.at(moved).loss)
    assert found["loss_means"] == pytest.approx([sum(losses) / 3])
    assert found["loss_deviations"] == pytest.approx([stdev(losses)])


def test_a_loss_that_is_not_finite_is_none(tmp_path):
    class Overflowing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 3)

        def forward(self, inputs):
            return self.fc(inputs) * 1e38 * (1 + (self.fc.weight - 1).abs().sum())

    model = Overflowing()
    with torch.no_grad():
        model.fc.weight.fill_(1)
        model.fc.bias.zero_()
    risk = EmpiricalRisk(model, [(torch.ones(2, 2), torch.tensor([0, 1]))], 2)
    settings = config(plane_points=0, eigenvalues=0, trace_draws=0, radius=10)
    found = measure(risk, settings, seed=0, workspace=Workspace(tmp_path))
    assert found["line"]["losses"][0] is None
    assert found["noise"]["loss_means"][-1] is None
    assert found["noise"]["loss_deviations"][-1] is None


def test_images_are_drawn_class_by_class():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 3)
    drawn = balanced_indices(labels, 20, make_generator(0, "i"))
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert sorted(labels[drawn].bincount().tolist()) == [3, 8, 9]
    assert len(balanced_indices(labels, 1000, make_generator(0, "i"))) == 83
    assert not torch.equal(drawn, balanced_indices(labels, 20, make_generator(1, "i")))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"points": 10}, "points"),
        ({"points": 2001}, "points"),
        ({"plane_points": 1}, "plane_points"),
        ({"plane_points": 103}, "plane_points"),
        ({"noise": (0.2, 0.1)}, "noise"),
        ({"noise": (0.0, 0.1)}, "noise"),
        ({"noise": (math.inf,)}, "noise"),
        ({"eigenvalues": 51}, "eigenvalues"),
        ({"images": 0}, "images"),
        ({"of": "teacher"}, "of"),
    ],
)
def test_settings_without_sense_are_refused(changes, key):
    with pytest.raises(ValidationError) as error:
        config(**changes)
    assert error.value.errors()[0]["loc"] == (key,)


def test_only_curvature_needs_the_extra(monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda package: False)
    check_landscape(config(eigenvalues=0, plane_points=0, trace_draws=0))
    for name in ("eigenvalues", "plane_points", "trace_draws"):
        none = {"eigenvalues": 0, "plane_points": 0, "trace_draws": 0}
        with pytest.raises(ConfigError, match=rf"landscape.{name}: needs curv"):
            check_landscape(config(**{**none, name: 3}))

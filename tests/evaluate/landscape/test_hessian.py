"""Curvature against Hessians that are written down or formed in full."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, hessian

from evaluate.landscape.empirical_risk import EmpiricalRisk
from evaluate.landscape.hessian import Hessian


class Small(nn.Module):
    """A convolution, BatchNorm that has seen images, a head beside the main one."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, 3)
        self.auxiliary_head = nn.Linear(2, 3)

    def forward(self, images):
        maps = torch.tanh(self.norm(self.convolution(images)))
        features = F.adaptive_avg_pool2d(maps, 1).flatten(1)
        return self.fc(features), self.auxiliary_head(features) if self.training else None


def small_risk(count=10):
    torch.manual_seed(0)
    model = Small().double()
    images, labels = torch.randn(count, 3, 5, 5).double(), torch.randint(3, (count,))
    model(images * 2 + 1)  # running statistics that are not those of a batch
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    batches = list(zip(images.split(4), labels.split(4), strict=True))
    return EmpiricalRisk(model, batches, count), images, labels


def exact(risk, images, labels):
    """The whole matrix [P, P], by torch alone."""
    weights = risk.weights

    def loss(flat):
        parts = flat.split([w.numel() for w in weights.values()])
        named = {n: p.view(w.shape) for p, (n, w) in zip(parts, weights.items(), strict=True)}
        return F.cross_entropy(functional_call(risk.module.eval(), named, (images,)), labels)

    return hessian(loss)(torch.cat([w.flatten() for w in weights.values()]))


def bowl(curvatures=(4.0, 1.0, 0.5)):
    """Loss ½ Σ cᵢ (wᵢ - 1)², as the mean squared error of a linear layer on scaled axes."""
    count = len(curvatures)
    inputs = torch.diag((torch.tensor(curvatures).double() * count / 2).sqrt())
    model = nn.Linear(count, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -2.0, 0.5]]))
    targets = inputs.sum(1, keepdim=True)
    batches = [(inputs[:2], targets[:2]), (inputs[2:], targets[2:])]
    return EmpiricalRisk(model, batches, count, nn.MSELoss())


def silent_log(products):
    pass


def test_eigenvalues_and_eigenvectors_are_those_of_the_whole_matrix():
    risk, images, labels = small_risk()
    found = Hessian(risk).top(4, seed=0, told=silent_log)
    matrix = exact(risk, images, labels)
    expected = torch.linalg.eigvalsh(matrix).flip(0)[:4]
    assert torch.allclose(found.eigenvalues, expected, rtol=1e-8)
    products = found.eigenvectors @ matrix
    assert torch.allclose(products, found.eigenvalues[:, None] * found.eigenvectors, atol=1e-7)
    assert torch.allclose(found.eigenvectors @ found.eigenvectors.T, torch.eye(4).double())


def test_a_float32_network_has_them_to_four_digits():
    risk, images, labels = small_risk()
    expected = torch.linalg.eigvalsh(exact(risk, images, labels)).flip(0)[:3]
    single = [(inputs.float(), targets) for inputs, targets in risk.batches]
    found = Hessian(EmpiricalRisk(risk.module.model.float(), single, 10)).top(3, 0, silent_log)
    assert torch.allclose(found.eigenvalues, expected, rtol=1e-3)
    assert found.eigenvectors.dtype == torch.float32


def test_the_trace_is_that_of_the_whole_matrix_within_its_error():
    risk, images, labels = small_risk()
    operator = Hessian(risk)
    draws = torch.tensor([operator.trace(0, draw) for draw in range(40)]).double()
    error = float(draws.std()) / 40**0.5
    expected = float(exact(risk, images, labels).trace())
    assert float(draws.mean()) == pytest.approx(expected, abs=3 * error)
    assert error < 0.2 * expected


def test_a_bowl_has_its_own_curvatures_and_every_draw_its_trace():
    operator = Hessian(bowl())
    assert operator.size == 3
    found = operator.top(2, seed=0, told=silent_log)
    assert found.eigenvalues.tolist() == pytest.approx([4, 1])
    assert found.eigenvectors.abs().flatten().tolist() == pytest.approx(
        [1, 0, 0, 0, 1, 0], abs=1e-9
    )
    # Signs square away where the matrix is diagonal.
    assert [operator.trace(0, draw) for draw in range(3)] == pytest.approx([5.5] * 3)


def test_frozen_weights_and_an_auxiliary_head_are_no_part():
    risk, _, _ = small_risk()
    own = set(risk.module.state_dict())
    assert set(risk.weights) <= own
    names = {"convolution.weight", "norm.weight", "norm.bias", "fc.weight", "fc.bias"}
    assert set(risk.weights) == {f"model.{name}" for name in names}
    model = risk.module.model
    model.convolution.weight.requires_grad_(False)
    names.remove("convolution.weight")
    assert set(EmpiricalRisk(model, risk.batches, 10).weights) == {f"model.{n}" for n in names}
    with pytest.raises(ValueError, match="the model has no weight with a gradient"):
        EmpiricalRisk(model.requires_grad_(False), risk.batches, 10)


def test_the_same_seed_gives_the_same_bits_and_another_other_ones():
    first, second = (Hessian(small_risk()[0]) for _ in range(2))
    one, two = (each.top(2, 1, silent_log) for each in (first, second))
    assert torch.equal(one.eigenvectors, two.eigenvectors)
    assert torch.equal(one.eigenvalues, two.eigenvalues)
    assert first.trace(1, 0) == second.trace(1, 0)
    assert first.trace(1, 0) != first.trace(1, 1)
    assert first.trace(1, 0) != first.trace(2, 0)


def test_products_are_counted_and_more_eigenvalues_than_weights_refused():
    counts = []
    operator = Hessian(small_risk()[0])
    operator.top(2, 0, counts.append)
    assert counts == list(range(1, len(counts) + 1))
    with pytest.raises(ValueError, match="found 3 eigenvalues; allowed: 1 to 2"):
        Hessian(bowl()).top(3, 0, silent_log)

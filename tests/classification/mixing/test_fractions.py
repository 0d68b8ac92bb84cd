import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from classification.mixing import sample_fractions, soft_targets


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_fractions_have_the_dirichlet_mean_and_covariance():
    for alpha, num_images in ((0.2, 5), (1 / 3, 3), (2.0, 4)):
        fractions = sample_fractions(alpha, (100_000, num_images), _generator())
        mean = 1 / num_images
        variance = mean * (1 - mean) / (num_images * alpha + 1)
        covariance = torch.full((num_images, num_images), -variance / (num_images - 1))
        covariance.fill_diagonal_(variance)
        assert (fractions.mean(0) - mean).abs().max() < 0.005
        assert (fractions.T.cov() - covariance).abs().max() < 0.003


def test_two_fractions_follow_the_beta_distribution():
    for alpha in (0.2, 1.0, 4.0):
        fractions = sample_fractions(alpha, (5000, 2), _generator())
        result = stats.kstest(fractions[:, 0].double().numpy(), stats.beta(alpha, alpha).cdf)
        assert result.pvalue > 0.01


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 2**32), st.floats(1e-3, 100), st.integers(2, 9))
def test_fractions_are_finite_and_sum_to_one(seed, alpha, num_images):
    fractions = sample_fractions(alpha, (4, 50, num_images), _generator(seed))
    assert fractions.shape == (4, 50, num_images)
    assert fractions.dtype == torch.float32
    torch.testing.assert_close(fractions.sum(-1), torch.ones(4, 50))


def test_a_whole_alpha_is_a_number_like_any_other():
    whole, fractional = (sample_fractions(a, (4, 3), _generator()) for a in (2, 2.0))
    assert torch.equal(whole, fractional)


def test_tiny_alpha_gives_all_to_one_image_and_each_is_as_likely():
    fractions = sample_fractions(1e-4, (3000, 3), _generator())
    assert (fractions.amax(1) > 0.999).float().mean() > 0.99
    assert (fractions.mean(0) - 1 / 3).abs().max() < 0.04


def test_soft_targets_add_partners_of_the_same_class():
    labels = torch.tensor([[2, 0, 2], [1, 1, 1]])
    weights = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    assert soft_targets(labels, weights, 4).tolist() == [[0.25, 0, 0.75, 0], [0, 1, 0, 0]]


def test_soft_targets_mix_labels_that_are_already_soft():
    labels = torch.tensor([[[0.5, 0.5], [1.0, 0.0]]])
    assert soft_targets(labels, torch.tensor([[0.5, 0.5]])).tolist() == [[0.75, 0.25]]

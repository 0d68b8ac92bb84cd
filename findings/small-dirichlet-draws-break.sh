#!/bin/sh
# torch 2.12.1 and NumPy 2.4.6: Beta and Dirichlet draws of a small parameter are wrong.
#
# Behaviour: shares of images are drawn as Gamma draws over their sum. For a small parameter these
# underflow: torch replaces them by the smallest number, so that shares become exactly equal;
# numpy.random.dirichlet, also behind scipy.stats.dirichlet, divides 0 by 0. NumPy's new generator
# is right.
# Seen: of 10,000 draws at 0.001, in float32: 25 % of torch's Beta draws are exactly 0.5 (the right
# number is 0); 12 % of numpy.random.dirichlet's rows are not numbers, none of default_rng's.
# At 0.01 none is wrong; at 0.003, 1.3 % and 0.2 %.
# Who meets it: whoever turns mixing off by a parameter close to 0: a quarter of the images is mixed
# half and half, the strongest mix there is.
# Here: fractions are computed from logarithms of the Gamma draws (classification/mixing/mixer.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'END'
import numpy as np
import scipy.stats
import torch

NUMBER = 10_000
torch.manual_seed(0)
halves, rows = {}, {}
for alpha in (0.01, 0.003, 0.001):
    beta = torch.distributions.Beta(alpha, alpha).sample((NUMBER,))
    halves[alpha] = (beta == 0.5).float().mean().item()
    old = np.random.RandomState(0).dirichlet([alpha] * 3, NUMBER)
    rows[alpha] = np.isnan(old).any(1).mean()
by_scipy = scipy.stats.dirichlet.rvs([0.001] * 3, NUMBER, random_state=0)
new = np.random.default_rng(0).dirichlet([0.001] * 3, NUMBER)
print(halves, rows, np.isnan(by_scipy).any(1).mean())
assert halves[0.01] == rows[0.01] == 0, "0.01 changed"
assert 0.22 < halves[0.001] < 0.28, "torch's Beta changed"
assert rows[0.001] > 0.1, "numpy.random.dirichlet changed"
assert np.isnan(by_scipy).any(1).mean() > 0.1, "scipy changed"
assert not np.isnan(new).any(), "the new generator changed"
END

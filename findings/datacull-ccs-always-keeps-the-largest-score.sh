#!/bin/sh
# datacull 1.0.2: CCSDataLoader always keeps the image with the largest score.
#
# Behaviour: the strata are cut by num_strata edges, so that the last stratum holds only what
# equals the largest score, usually one image, and every stratum smaller than its share is kept
# whole. The published method cuts the range into strata of equal width.
# Seen: 1,000 random scores, 100 kept, 200 seeds: the largest is kept 200 times of 200; by chance
# it would be about 20.
# Who meets it: whoever ranks by a score whose largest value is an outlier or a wrong label: it is
# in every coreset, whatever the seed.
# Here: docs/peers.md has the comparison.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    datacull==1.0.2 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import numpy as np
import torch
from datacull import CCSDataLoader, DCDataset
from torch.utils.data import Dataset


class Images(Dataset):
    targets = np.repeat(np.arange(10), 100).tolist()

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return torch.zeros(1), self.targets[index]


scores = np.random.default_rng(0).random(1000)
order = scores.argsort()
kept = np.zeros(1000, int)
for seed in range(200):
    np.random.seed(seed)
    loader = CCSDataLoader(
        DCDataset(Images()), pruning_rate=0.1, beta=0.0, num_strata=50, batch_size=10
    )
    loader.resample(scores)
    kept[loader.subset_indices] += 1
print(f"largest {kept[order[-1]]} of 200, others at most {kept[order[:-1]].max()}")
assert kept[order[-1]] == 200, "the largest is not always kept now"
assert kept[order[:-1]].max() < 100, "others are kept as often"
END

#!/bin/sh
# datacull 1.0.2: pruning_rate is the fraction that is kept, not the fraction removed.
#
# Behaviour: the documentation says "Fraction of samples to remove while pruning. Example: 0.2,
# keep 80%", and all loaders keep ceil(rate x images).
# Seen: of 1,000 images with pruning_rate=0.2 TDDSDataLoader and RS2DataLoader yield 200.
# Who meets it: whoever compares selections at "90 % pruned" and trains on 90 % of the images.
# Here: subset.fraction is what is kept, and says so; docs/peers.md has the comparison.
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
from datacull import DCDataLoader, DCDataset, RS2DataLoader, TDDSDataLoader
from torch.utils.data import Dataset


class Images(Dataset):
    targets = np.repeat(np.arange(10), 100).tolist()

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return torch.zeros(1), self.targets[index]


scores = np.random.default_rng(0).random(1000)
kept = {}
for loader in (TDDSDataLoader, RS2DataLoader):
    made = loader(DCDataset(Images()), pruning_rate=0.2, batch_size=10)
    made.resample(scores)
    kept[loader.__name__] = sum(len(labels) for _, labels, _ in made)
documented = "keep 80%" in DCDataLoader.__init__.__doc__
print(kept, documented)
assert set(kept.values()) == {200}, "the number of images changed"
assert documented, "the documentation changed"
END

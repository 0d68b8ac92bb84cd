#!/bin/sh
# datacull 1.0.2: RS2DataLoader shuffles only after its first pass over the images.
#
# Behaviour: without replacement (the default) it is documented to shuffle once and to take chunks;
# the first chunks are taken in the order of the dataset. With an image folder, whose images are
# sorted by class, an epoch of the first pass has the images of one class.
# Seen: 10 classes of 100 images, a tenth an epoch: one class in each of the first ten epochs, all
# classes from the eleventh on.
# Who meets it: whoever uses random subsets as the baseline of a selection on torchvision's
# ImageFolder.
# Here: the random measure draws from every class (subsample/selection.py); docs/peers.md.
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
from datacull import DCDataset, RS2DataLoader
from torch.utils.data import Dataset


class SortedFolder(Dataset):
    targets = np.repeat(np.arange(10), 100).tolist()

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return torch.zeros(1), self.targets[index]


loader = RS2DataLoader(DCDataset(SortedFolder()), pruning_rate=0.1, batch_size=50)
classes = []
for _ in range(12):
    loader.resample(None)
    classes.append(len(set(np.concatenate([labels.numpy() for _, labels, _ in loader]).tolist())))
print(classes)
assert classes[:10] == [1] * 10, "the first epochs are mixed now"
assert min(classes[10:]) > 5, "the later epochs are no longer mixed"
END

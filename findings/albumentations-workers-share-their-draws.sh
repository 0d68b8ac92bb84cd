#!/bin/sh
# albumentations 2.0.8: all workers of a DataLoader draw the same augmentations, in every epoch.
#
# Behaviour: a Compose draws from a generator that it makes when it is built. Each worker process
# starts with a copy of it, and unless persistent_workers is set a new one in each epoch. The
# seeds that torch gives to workers do not reach it; with seed=None it is the same.
# Seen: eight images, two workers, batches of one, seed=None: the second image is as bright as the
# first, the fourth as the third, ...; the second epoch equals the first. Without workers they
# differ.
# Who meets it: whoever augments with albumentations in workers started by fork: w workers and e
# epochs see 1 / (w e) of the augmentations.
# Here: crops and flips are drawn from the seed, the image and the pass
# (classification/data/files.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    albumentations==2.0.8 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python -W ignore - <<'END'
import albumentations
import numpy as np
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __init__(self):
        brightness = albumentations.RandomBrightnessContrast(p=1)
        self.augment = albumentations.Compose([brightness], seed=None)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        image = np.full((4, 4, 3), 100, np.uint8)
        return int(self.augment(image=image)["image"][0, 0, 0])


def epochs(workers):
    loader = DataLoader(
        Images(), num_workers=workers, multiprocessing_context="fork" if workers else None
    )
    return [[int(value) for value in loader] for _ in range(2)]


first, second = epochs(2)
print(first, second)
assert first[0::2] == first[1::2], "the workers differ now"
assert first == second, "the epochs differ now"
assert len(set(first)) > 1, "all images are equally bright"
first, second = epochs(0)
assert first != second, "the epochs of one process are equal now"
END

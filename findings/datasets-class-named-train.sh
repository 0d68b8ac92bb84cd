#!/bin/sh
# datasets 5.2.0: a class folder named train is taken for a split by the "imagefolder" reader.
#
# Behaviour: words such as train, test, dev, val or eval anywhere in a path choose the split, also
# as the name of a class, which CIFAR-100 has (train). Without splits, only the images of that
# class are read, without labels. With splits, the test images of that class become training
# images too. Nothing is logged.
# Seen: 2 images each of apple, bus and train: 2 images, no column "label". train/CLASS of 3 and
# test/CLASS of 2 images: 11 training images instead of 9, and 6 test images.
# Who meets it: whoever trains or tests on CIFAR-100, or on classes like "test tube" in folders:
# test images are trained on.
# Here: each split is read from its own folder (classification/data/folders.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/cache" venv/bin/python - <<'END'
import pathlib

import datasets
from PIL import Image

datasets.disable_progress_bars()
splits = {"flat": 2, "split/train": 3, "split/test": 2}
for split, images in splits.items():
    for name in ("apple", "bus", "train"):
        folder = pathlib.Path(split, name)
        folder.mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (4, 4)).save(folder / f"{number}.png")

flat = datasets.load_dataset("imagefolder", data_dir="flat")
split = datasets.load_dataset("imagefolder", data_dir="split")
sizes = [{key: len(part) for key, part in each.items()} for each in (flat, split)]
print(sizes, flat["train"].column_names)
assert sizes[0] == {"train": 2}, "the folder without splits changed"
assert flat["train"].column_names == ["image"], "the images have labels now"
assert sizes[1] == {"train": 11, "test": 6}, "the folder with splits changed"
END

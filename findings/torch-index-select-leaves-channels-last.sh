#!/bin/sh
# torch 2.12.1: two spellings of the same selection return other memory formats.
#
# Behaviour: of a channels_last batch, images[index] stays channels_last; images.index_select(0,
# index), repeat, gather, softmax and instance_norm return the default format. The values are
# equal.
# Seen: as stated.
# Who meets it: whoever mixes a batch with a permuted copy of itself (CutMix, MixUp) in
# channels_last and wonders why the convolutions after it are as slow as without.
# Here: networks are channels_last, and their first convolution converts what a mixer returns
# (classification/training/trainer.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
import torch.nn.functional as F

images = torch.randn(4, 8, 6, 6).to(memory_format=torch.channels_last)
index = torch.tensor([3, 2, 1, 0])
results = {
    "images[index]": images[index],
    "flip(0)": images.flip(0),
    "roll(1, 0)": images.roll(1, 0),
    "index_select": images.index_select(0, index),
    "repeat": images.repeat(1, 1, 1, 1),
    "softmax": images.softmax(1),
    "instance_norm": F.instance_norm(images),
}
kept = {
    name: result.is_contiguous(memory_format=torch.channels_last)
    for name, result in results.items()
}
print(kept)
assert torch.equal(results["images[index]"], results["index_select"])
assert list(kept.values()) == [True, True, True, False, False, False, False], "formats changed"
END

#!/bin/sh
# safetensors 0.8.0 writes the entries of a file's metadata in a random order.
#
# Behaviour: equal tensors with equal metadata of several entries give different bytes at every
# call, in one process and between processes. With one entry, or none, the bytes are equal.
# Seen: 4 entries, 200 saves, more than 10 different files; 1 entry, 1 file.
# Who meets it: whoever hashes weights or checkpoints, to compare runs, to deduplicate or to cache.
# Here: weights are saved without metadata; checkpoints, which have two entries, sort the header
# after the library has written it (classification/persistence/checkpoint.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    safetensors==0.8.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import numpy as np
from safetensors.numpy import load, save

weights = {"weight": np.arange(4, dtype=np.float32)}
entries = {"epoch": "3", "lr": "0.1", "model": "resnet8", "seed": "0"}
several = {save(weights, metadata=entries) for _ in range(200)}
single = {save(weights, metadata={"epoch": "3"}) for _ in range(200)}
print(f"4 entries: {len(several)} different files of 200; 1 entry: {len(single)}")
assert all(np.array_equal(load(file)["weight"], weights["weight"]) for file in several)
assert len(several) > 10, "several entries: the bytes no longer vary"
assert len(single) == 1, "one entry: the bytes vary now"
END

#!/bin/sh
# safetensors 0.8.0: a state dict comes back in another order than it was saved in.
#
# Behaviour: save_file orders the tensors by the width of their type, then by name; load_file
# returns that order, and load (from bytes) yet another one. Neither is the order of the network.
# Seen: z, a, n (int64), layer10, layer2: load_file returns n, a, layer10, layer2, z.
# Who meets it: whoever pairs the values of a loaded file with model.parameters(), counts layers by
# their place in it, or compares two files by zip.
# Here: weights are loaded by name (classification/models/weights.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    safetensors==0.8.0 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from safetensors.torch import load_file, save_file

names = ["z", "a", "n", "layer10", "layer2"]
state = {name: torch.zeros(2, dtype=torch.int64 if name == "n" else None) for name in names}
save_file(state, "weights.safetensors")
loaded = list(load_file("weights.safetensors"))
print(names, loaded)
assert loaded == ["n", "a", "layer10", "layer2", "z"], "the order changed"
END

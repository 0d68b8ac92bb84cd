#!/bin/sh
# torch 2.12.1 on a CPU: topk and sort order equal values by the length of the tensor.
#
# Behaviour: of equal values topk returns neither the first nor the last, and sort keeps their
# order for up to 16 values only, unless stable=True.
# Seen: topk(3) of 100 zeros: 67, 66, 65; of 20,000 zeros: 0, 1, 2. sort of 16 zeros: 0, 1, 2, ...;
# of 17: 8, 16, 15, ...
# Who meets it: whoever keeps the images with the highest scores where many are equal (losses of 0,
# counts of forgetting): which images those are depends on how many images there are.
# Here: ties are broken by the images' index (subsample/selection.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch

top = {n: torch.zeros(n).topk(3).indices.tolist() for n in (100, 20_000)}
orders = {n: torch.zeros(n).sort().indices.tolist() for n in (16, 17)}
print(top, {n: order[:4] for n, order in orders.items()})
assert top[100] not in ([0, 1, 2], [97, 98, 99], [99, 98, 97]), "topk of 100 changed"
assert top[20_000] == [0, 1, 2], "topk of 20,000 changed"
assert orders[16] == list(range(16)), "sort of 16 changed"
assert orders[17] != list(range(17)), "sort of 17 is stable now"
assert torch.zeros(17).sort(stable=True).indices.tolist() == list(range(17))
END

#!/bin/sh
# mixup 0.2.2: SaliencyMix returns labels of the shape [B, 1, B, L] instead of [B, L].
#
# Behaviour: its shares are [B, 1, 1, 1] and broadcast against the labels [B, L]. F.cross_entropy
# refuses the result; a soft loss, -(labels x log_softmax(logits)).sum(-1).mean(), accepts it and
# compares every image with the labels of all. The package's CutMix and PuzzleMix return [B, L].
# Seen: 8 images, 5 classes: [8, 1, 8, 5].
# Who meets it: whoever trains with SaliencyMix and the soft loss of timm or of the method's
# authors: the training runs and learns nothing but the mean label of a batch.
# Here: own mixers, which return [B, L]; docs/peers.md has the comparison.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    mixup==0.2.2 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
import torch.nn.functional as F
from mixup import CutMix, PuzzleMix, SaliencyMix

images, labels = torch.rand(8, 3, 32, 32), F.one_hot(torch.arange(8) % 5, 5).float()
shapes = {
    mixer.__name__: tuple(mixer(alpha=1.0)(images, labels)[1].shape)
    for mixer in (SaliencyMix, CutMix, PuzzleMix)
}
print(shapes)
assert shapes["SaliencyMix"] == (8, 1, 8, 5), "SaliencyMix changed"
assert shapes["CutMix"] == shapes["PuzzleMix"] == (8, 5), "CutMix or PuzzleMix changed"
mixed = SaliencyMix(alpha=1.0)(images, labels)[1]
logits = torch.randn(8, 5)
assert torch.isfinite(-(mixed * logits.log_softmax(1)).sum(-1).mean())
try:
    F.cross_entropy(logits, mixed)
except RuntimeError as error:
    print(error)
else:
    raise AssertionError("F.cross_entropy takes it now")
END

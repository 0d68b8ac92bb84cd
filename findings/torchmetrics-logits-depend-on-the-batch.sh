#!/bin/sh
# torchmetrics 1.9.0: the calibration error of the same logits depends on the size of the batches.
#
# Behaviour: a batch of predictions gets a softmax if any value of it is outside [0, 1]. Logits
# that are all inside are taken as probabilities, so that whether an image's logits are normalised
# depends on the other images of its batch.
# Seen: three images of two classes: 0.325 as one batch, 0.306 as three.
# Who meets it: whoever gives logits, which the documentation allows, of a network early in its
# training, or with a small last batch.
# Here: the calibration error is computed from the softmax of all images (evaluate/calibration.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torchmetrics==1.9.0 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from torchmetrics.classification import MulticlassCalibrationError

logits = torch.tensor([[0.9, 0.1], [0.2, 0.8], [3.0, -1.0]])
label = torch.tensor([0, 0, 0])


def error(batch, predicted):
    metric = MulticlassCalibrationError(num_classes=2)
    for part, labels in zip(predicted.split(batch), label.split(batch)):
        metric.update(part, labels)
    return round(metric.compute().item(), 3)


seen = [error(3, logits), error(1, logits)]
normalised = [error(3, logits.softmax(1)), error(1, logits.softmax(1))]
print(seen, normalised)
assert seen == [0.325, 0.306], "the error of logits changed"
assert normalised == [0.325, 0.325], "the error of probabilities changed"
END

#!/bin/sh
# torchmetrics 1.9.0: a confidence of exactly 1 has its own bin in the calibration error.
#
# Behaviour: the last of n bins is half open, and confidences of 1 go to a bin n + 1, which holds
# nothing else. netcal 1.4.0 counts them in the last bin, as the paper does (Guo et al. 2017).
# Errors that cancel within the last bin no longer cancel, so the result is higher.
# Seen: confidence 1, wrong, and 0.95, right, with 10 bins: 52.5 % instead of 47.5 %.
# Who meets it: whoever compares calibration errors of confident networks: in float32 the softmax
# is exactly 1 once the largest logit leads by about 17.
# Here: evaluate/calibration.py counts a confidence of 1 in the last bin.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torchmetrics==1.9.0 netcal==1.4.0 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch
from netcal.metrics import ECE
from torchmetrics.classification import MulticlassCalibrationError

predicted = torch.tensor([[1.0, 0.0], [0.95, 0.05]])
label = torch.tensor([1, 0])
own = MulticlassCalibrationError(num_classes=2, n_bins=10)(predicted, label).item()
other = ECE(10).measure(predicted.numpy().max(1), (predicted.argmax(1) == label).numpy() * 1)
print(own, other)
assert abs(own - (0.5 * 1.0 + 0.5 * 0.05)) < 1e-6, "torchmetrics changed"
assert abs(other - abs(0.975 - 0.5)) < 1e-6, "netcal changed"
END

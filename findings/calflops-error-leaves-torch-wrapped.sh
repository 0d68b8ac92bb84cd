#!/bin/sh
# calflops 0.3.2 beside ptflops 0.7.5: after an error, torch's functions stay replaced and counts change.
#
# Behaviour: calflops replaces functions of torch while it counts. If it raises, as it does for every
# module without parameters, it does not put them back. ptflops, which looks operations up by their
# function, then raises KeyError for any network, in the rest of the process.
# Seen: calculate_flops of a MaxPool2d raises StopIteration; F.conv2d is another function
# afterwards. ptflops counts 9,360 for a small network before, and raises KeyError after.
# Who meets it: whoever compares counters in one process, or counts the operations of a search space one
# by one: pooling and identity have no parameters.
# Here: benchmarks/counters.py puts torch's functions back after each counter.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 torchvision==0.27.1 calflops==0.3.2 ptflops==0.7.5 \
    transformers==5.24.0 accelerate==1.15.0
cd "$folder"
venv/bin/python -W ignore - <<'END'
import contextlib
import io

import torch.nn.functional as F
from calflops import calculate_flops
from ptflops import get_model_complexity_info
from torch import nn


def count() -> float:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8))
    options = {"print_per_layer_stat": False, "as_strings": False, "backend": "pytorch"}
    with contextlib.redirect_stdout(io.StringIO()):
        return get_model_complexity_info(network, (3, 8, 8), **options)[0]


before, conv2d = count(), F.conv2d
raised = []
for name, run in {
    "calflops": lambda: calculate_flops(
        nn.MaxPool2d(2), input_shape=(1, 3, 8, 8), print_results=False
    ),
    "ptflops": count,
}.items():
    try:
        run()
    except Exception as error:  # noqa: BLE001
        raised.append((name, type(error).__name__))
print(before, raised, F.conv2d is conv2d)
assert before == 9360, "ptflops counts something else"
assert raised == [("calflops", "StopIteration"), ("ptflops", "KeyError")], "an error changed"
assert F.conv2d is not conv2d, "calflops puts torch's functions back"
END

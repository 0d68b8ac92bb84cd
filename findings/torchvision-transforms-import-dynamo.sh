#!/bin/sh
# torchvision 0.27.1: importing its transforms imports torch's compiler.
#
# Behaviour: import torch does not load torch._dynamo; import torchvision.transforms does, with
# about 1,000 further modules, so that a program that only resizes images starts seconds later.
# Seen: torch._dynamo absent after import torch, present after import torchvision.transforms.
# Who meets it: whoever keeps a command line or the worker processes of a loader light.
# Here: torchvision is imported in the functions that use it, and tests/test_startup.py lists what
# each command loads.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 torchvision==0.27.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import sys

import torch

before = set(sys.modules)
assert "torch._dynamo" not in before, "torch itself loads its compiler now"
import torchvision.transforms

more = set(sys.modules) - before
print(f"{len(more)} modules more")
assert "torch._dynamo" in more, "the transforms no longer load the compiler"
assert len(more) > 500, "far fewer modules are loaded"
END

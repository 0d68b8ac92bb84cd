#!/bin/sh
# Ray 2.60.0: a task with num_gpus=0 sees the GPUs of the process that started it.
#
# Behaviour: CUDA_VISIBLE_DEVICES of the driver is passed on, so that torch.cuda.is_available() is
# true in a task that was given no GPU; a task with num_gpus=1 sees its own. Only
# RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1 hides them.
# Seen: driver "0,1": task without GPUs "0,1", task with one "0"; with the variable "".
# Who meets it: whoever lets tasks choose a device by themselves: all CPU tasks land on one GPU.
# Here: each task is told its device (pipeline/studies/ray_workers.py), by a test.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    ray==2.60.0
cd "$folder"
venv/bin/python - <<'END'
import os
import subprocess
import sys

PROGRAM = '''
import os
import ray

ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)


@ray.remote
def visible():
    return os.environ.get("CUDA_VISIBLE_DEVICES")


print([ray.get(visible.options(num_gpus=n).remote()) for n in (0, 1)])
'''
variable, seen = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", {}
for value in ("0", "1"):
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "0,1", "RAY_USAGE_STATS_ENABLED": "0", variable: value
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    seen[value] = done.stdout.strip().splitlines()[-1]
print(seen)
assert seen["0"] == "['0,1', '0']", "a task without GPUs sees others now"
assert seen["1"] == "['', '0']", "the variable has another effect"
END

#!/bin/sh
# Ray 2.60.0 with torch 2.12.1: a reused worker keeps the threads of its first task.
#
# Behaviour: Ray sets OMP_NUM_THREADS to a task's num_cpus for every task, and a worker process
# serves many tasks; torch reads the variable once, when it is first used.
# Seen: tasks of 1 and then 3 CPUs in one process: the variable says 1 and 3, torch 1 and 1.
# Who meets it: whoever mixes small and large tasks: large ones run on one core, or small ones on
# all.
# Here: each task sets its threads (pipeline/studies/ray_workers.py), by a test.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    ray==2.60.0 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.pop("OMP_NUM_THREADS", None)
import ray

ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)


@ray.remote
def threads():
    import torch

    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()


seen = [ray.get(threads.options(num_cpus=cpus).remote()) for cpus in (1, 3)]
print(seen)
assert seen[0][0] == seen[1][0], "the second task has another process"
assert [row[1] for row in seen] == ["1", "3"], "the variable changed"
assert [row[2] for row in seen] == [1, 1], "torch follows the variable now"
END

#!/bin/sh
# Ray 2.60.0: ray.init replaces the program's SIGTERM handler and never gives it back.
#
# Behaviour: after ray.init the handler is Ray's, which exits; ray.shutdown leaves it. A program
# that saves its work on SIGTERM no longer does, also after it has stopped using Ray.
# Seen: the handler is another function after ray.init and after ray.shutdown.
# Who meets it: whoever trains on a preemptible machine (Slurm and Kubernetes send SIGTERM) and
# uses Ray for one part.
# Here: the handler is put back after ray.init (pipeline/studies/ray_cluster.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    ray==2.60.0
cd "$folder"
venv/bin/python - <<'END'
import os
import signal

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray


def save_work(signum, frame):
    pass


signal.signal(signal.SIGTERM, save_work)
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
during = signal.getsignal(signal.SIGTERM)
ray.shutdown()
after = signal.getsignal(signal.SIGTERM)
print(during, after)
assert during is not save_work, "the handler is kept now"
assert after is not save_work, "the handler is given back now"
END

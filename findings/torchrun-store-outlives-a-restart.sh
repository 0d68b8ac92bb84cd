#!/bin/sh
# torch 2.12.1: torchrun's store keeps the addresses of dead processes between restarts.
#
# Behaviour: the processes of all attempts of torchrun --max-restarts meet in one store of the
# launcher. init_process_group writes their addresses under the same key in each attempt, although
# a comment in torch's source says that each attempt has a new store.
# Seen: before it joins, the second attempt reads the address of the first, which has ended.
# Who meets it: whoever relies on restarts: a new process may be given the address of a dead one.
# Here: each attempt has its own prefix in the store (pipeline/launch.py), by a test.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    torch==2.12.1 numpy==2.4.6
cd "$folder"
cat > worker.py <<'END'
import os

import torch.distributed as dist

attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
store = dist.TCPStore(*address, is_master=False)
key = "default_pg/0//cpu//0/0"
print("attempt", attempt, "finds", "an address" if store.check([key]) else "none", flush=True)
if attempt == "0":
    dist.init_process_group("gloo")
    raise SystemExit(1)
END
venv/bin/torchrun --standalone --nproc-per-node=1 --max-restarts=1 worker.py > seen 2> log
cat seen
if [ "$(cat seen)" != "attempt 0 finds none
attempt 1 finds an address" ]; then
    echo "the store changed"
    exit 1
fi

#!/bin/sh
# Writes docs/peers.md: makes a fresh environment in a temporary folder, installs this project's
# packages and those that it is compared with. Five minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile -c constraints.txt . \
    datacull==1.0.2 mixup==0.2.2 timm==1.0.31 kornia==0.9.0
"$folder/venv/bin/python" -m benchmarks.peers

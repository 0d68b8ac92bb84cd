#!/bin/sh
# Writes docs/counting.md: makes a fresh environment in a temporary folder, installs this project's
# packages and the counters, searches with the quickstart, and counts. Half an hour on one core.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile -c constraints.txt .
DS_BUILD_OPS=0 "$folder/venv/bin/pip" install --quiet --no-compile -c constraints.txt \
    thop==0.1.1.post2209072238 ptflops==0.7.5 torchinfo==1.8.0 fvcore==0.1.5.post20221221 \
    torchprofile==0.1.0 flopth==0.1.6 torch-pruning==1.6.1 calflops==0.3.2 deepspeed==0.19.8 \
    transformers==5.24.0 accelerate==1.15.0
"$folder/venv/bin/python" run_pipeline.py run configs/quickstart.yaml --until search --quiet \
    --artifacts "$folder/artifacts" --runs "$folder/runs"
"$folder/venv/bin/python" -m benchmarks.counting --output docs/counting.md \
    --found "$folder"/artifacts/search/*/genotype.json

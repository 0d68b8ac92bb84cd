#!/bin/sh
# thop 0.1.1.post2209072238 and ultralytics-thop 2.2.3 are one module with two ways to count.
#
# Behaviour: both packages install a module named thop. pip installs the second over the first
# without a word and lists both, and the counts change: a 3x3 average pool costs 1 operation an
# output in one and 10 in the other.
# Seen: 4 x 8 x 8 values: 256 with thop; 2,560 after pip install ultralytics-thop; both installed.
# Who meets it: whoever counts networks in an environment that also has a YOLO package, which
# depends on the fork: avg_pool_3x3 becomes dearer than a depthwise 3x3 convolution (2,304).
# Here: benchmarks/counting.sh makes an environment that has thop alone.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    thop==0.1.1.post2209072238 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import importlib.metadata
import subprocess
import sys

PROGRAM = '''
import thop, torch
pool = torch.nn.AvgPool2d(3, 1, 1).eval()
print(int(thop.profile(pool, (torch.zeros(1, 4, 8, 8),), verbose=False)[0]))
'''


def count():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


before = count()
command = [sys.executable, "-m", "pip", "install", "--quiet", "ultralytics-thop==2.2.3"]
subprocess.run(command, check=True)
after = count()
names = ("thop", "ultralytics-thop")
print(before, after, {name: importlib.metadata.version(name) for name in names})
assert (before, after) == (256, 2560), "the counts changed"
END

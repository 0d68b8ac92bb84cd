"""The command line from any folder, beside other packages called `evaluate`, `pipeline`, …"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
COMMAND = str(ROOT / "run_pipeline.py")
NAMES = ("classification", "evaluate", "pcdarts", "pipeline", "subsample")
CLASSIFIER = """
name: here
goal: classifier
data: {data}
scorer: {{model: resnet8, epochs: 1, batch_size: 4, learning_rate: 0.1, milestones: []}}
"""
DIGITS = "{kind: digits, classes: 2, images_per_class: 8}"
STUDY = """
name: seeds
base: config.yaml
seeds: 2
x: scorer.epochs
grid: {scorer.epochs: [1]}
reference: all
series: [{name: all}]
"""


@pytest.fixture
def folder(tmp_path):
    """A working directory; strangers with our packages' names are in it and on PYTHONPATH."""
    here = tmp_path / "here"
    for place in (here, tmp_path / "installed"):
        for name in NAMES:
            (place / name).mkdir(parents=True)
            (place / name / "__init__.py").write_text("def load(name): ...\n")
    return here


def start(folder, *command):
    """Standard output and error, once the command has ended well."""
    names = {"PYTHONPATH": str(folder.parent / "installed"), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | names,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def write_images(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for path in (folder / split / name for split in ("train", "val") for name in ("cat", "dog")):
        path.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(pixels + number).save(path / f"{number}.png")


def test_a_run_and_its_worker_processes_import_our_packages(folder):
    write_images(folder / "photos")
    data = "{kind: folder, root: photos, image_size: 16, storage: files, workers: 1}"
    (folder / "config.yaml").write_text(CLASSIFIER.format(data=data))
    start(folder, COMMAND, "run", "config.yaml", "--device", "cpu")
    assert (folder / "runs" / "here" / "report" / "report.md").is_file()


def test_so_do_the_processes_of_torchrun(folder):
    (folder / "config.yaml").write_text(CLASSIFIER.format(data=DIGITS))
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    start(folder, *launch, COMMAND, "run", "config.yaml", "--device", "cpu")
    assert (folder / "runs" / "here" / "report" / "report.md").is_file()


@pytest.mark.long
def test_so_do_the_workers_of_ray(folder):
    pytest.importorskip("ray", reason="the distributed extra is not installed")
    (folder / "config.yaml").write_text(CLASSIFIER.format(data=DIGITS))
    (folder / "study.yaml").write_text(STUDY)
    start(folder, COMMAND, "sweep", "study.yaml", "--jobs", "2", "--device", "cpu")
    assert (folder / "runs" / "seeds" / "report.md").is_file()

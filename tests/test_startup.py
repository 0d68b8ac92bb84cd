"""Commands that touch no tensor start without torch and the other slow imports."""

import json
import subprocess
import sys
from pathlib import Path

from pipeline.commands import COMMANDS
from pipeline.commands.export import NAMES
from pipeline.config import load_config
from pipeline.exports.forms import FORMS
from pipeline.run_folder import RESULTS, RunFolder
from pipeline.store.checksum import add_checksum

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "quickstart.yaml")
SLOW = ("torch", "torchvision", "scipy.stats", "scipy.sparse", "sklearn", "matplotlib", "ray")
RESULT = {
    "name": "quickstart",
    "subset": {"measure": "cv", "fraction": 0.1},
    "cost": {"unit": "CPU-hours", "search_alone": 0.5, "total": 1.0},
    "accuracy": {"top1_error_last": 10.0},
    "search_epochs": 3,
}
# Run by one new process: prints which slow modules are loaded after each command.
PROGRAM = """
import contextlib, io, json, sys
from run_pipeline import main
found = {}
for command in json.loads(sys.argv[1]):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(command) == 0, command
    assert output.getvalue()
    found[" ".join(command[:2])] = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print(json.dumps(found))
"""
# Run by one new process: fails if the fingerprints of a config need torch.
FINGERPRINTS = """
import sys
from pathlib import Path
from pipeline.config import load_config
from pipeline.reports.record import _compared
from pipeline.graph import fingerprints
from pipeline.stages import STAGES
for path in sorted(Path("configs").glob("*.yaml")):
    config = load_config(path)
    fingerprints(STAGES, config, {"data": "0", "target": "1"})
    if config.goal != "ranking":
        _compared(config, "0")
    assert "torch" not in sys.modules, path
"""


def test_status_config_plot_and_every_help_start_without_torch(tmp_path):
    folder = RunFolder.record(
        tmp_path, load_config(Path(CONFIG)), {"search": "0" * 16}, tmp_path, ""
    )
    folder.report.mkdir()
    (tmp_path / "ledger.jsonl").touch()
    (folder.report / RESULTS).write_text(json.dumps(add_checksum(RESULT)))
    of_run = ["quickstart", "--runs", str(tmp_path)]
    light = [
        ["--help"],
        *([name, "--help"] for name in COMMANDS),
        ["config", CONFIG],
        ["graph", CONFIG],
        ["status", *of_run],
        ["clean", "--dry-run", "--artifacts", str(tmp_path), "--runs", str(tmp_path)],
        ["plot", *of_run, "-o", str(tmp_path / "plot.svg")],  # the last, as it needs matplotlib
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(light), json.dumps(SLOW)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert not done.returncode, done.stderr
    loaded = json.loads(done.stdout)
    assert loaded.pop("plot quickstart") == ["matplotlib"]
    assert set(map(tuple, loaded.values())) == {()}, loaded


def test_reading_runs_for_a_plot_needs_neither_configs_nor_stages():
    program = (
        "import sys, pipeline.commands.plot, pipeline.reports.cost_point\n"
        "print([name for name in ('pipeline.config', 'pipeline.stages') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


def test_the_help_of_export_lists_every_form():
    assert tuple(FORMS) == NAMES


def test_fingerprints_need_no_torch():
    subprocess.run([sys.executable, "-c", FINGERPRINTS], check=True, cwd=ROOT)

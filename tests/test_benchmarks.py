"""The table of all benchmarks, of scripts that take no time; the one for a GPU, small, on a CPU."""

import argparse
import importlib
import json
import sys

import pytest
import torch

from benchmarks import __main__ as table
from benchmarks import gpu, quickstart
from benchmarks.measurement import Row, ratios, write_record
from pcdarts.search_config import SearchConfig

# Copies a record to the path after --json, prints the other arguments and fails if asked to.
SCRIPT = """
import shutil, sys
*given, option, path = sys.argv[1:]
assert option == "--json"
print("given", given)
if {copied}:
    shutil.copy({record!r}, path)
sys.exit({status})
"""


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Replace the scripts by three that report rows without measuring; one is broken."""
    rows = {
        "first": [Row("ours / theirs", [0.5, 2.25, 1.0]), Row("a run", [1234.6], "ms")],
        "broken": [],
        "last": [Row("other / one", needs="--against"), Row("one", [0.012345, 0.02], "s")],
    }
    for name, given in rows.items():
        record = str(tmp_path / f"{name}.json")
        write_record(tmp_path / f"{name}.json", torch.device("cpu"), argparse.Namespace(), given)
        status, copied = (3, False) if name == "broken" else (0, True)
        source = SCRIPT.format(record=record, status=status, copied=copied)
        (tmp_path / f"{name}.py").write_text(source)

    def command(script):
        return [sys.executable, str(tmp_path / f"{script.name}.py"), *script.arguments.split()]

    monkeypatch.setattr(table.Script, "command", command)
    scripts = (
        table.Script("first", "--size 3", ("against",)),
        table.Script("broken"),
        table.Script("last"),
    )
    monkeypatch.setattr(table, "SCRIPTS", scripts)


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    return table.main()


# A quickstart of two stages of WORK seconds each, whose error follows from the seed.
QUICKSTART = """
import json, sys, time
from pathlib import Path
given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
artifacts, report = Path(given["--artifacts"]), Path(given["--runs"], "quickstart", "report")
seed = int(given["--set"].removeprefix("seed="))
if not artifacts.exists():
    for stage in ("scorer", "search"):
        (artifacts / stage).mkdir(parents=True)
        time.sleep(WORK)
        line = dict(stage=stage, fingerprint="0" * 16, run="quickstart", started="", seconds=1.0,
                    device="", device_kind="cpu", devices=1, outcome="done")
        with (artifacts / "ledger.jsonl").open("a") as ledger:
            print(json.dumps(line), file=ledger)
    report.mkdir(parents=True)
    error = {"accuracy": {"top1_error_last": seed + ERROR}}
    (report / "results.json").write_text(json.dumps(error))
"""


def test_quickstarts_of_two_checkouts_are_compared_by_stage_and_by_seed(
    tmp_path, monkeypatch, capsys
):
    places = tmp_path / "own", tmp_path / "older"
    for place, work, error in zip(places, ("0.01", "0.03"), ("1.5", "1 + 2 * seed"), strict=True):
        place.mkdir()
        source = QUICKSTART.replace("WORK", work).replace("ERROR", error)
        (place / "run_pipeline.py").write_text(source)
    monkeypatch.setattr(quickstart, "_HERE", places[0])
    words = ["--seeds", "0", "1", "--against", str(places[1]), "--json", str(tmp_path / "record")]
    monkeypatch.setattr(sys, "argv", ["quickstart", *words])
    quickstart.main()
    runs = json.loads((tmp_path / "record").read_text())["runs"]
    assert [[run["error"] for run in of_seed] for of_seed in runs] == [[1.5, 1.0], [2.5, 4.0]]
    for clock in ("wall", "cpu"):
        whole, *parts, _ = runs[0][0][clock].values()
        assert list(runs[0][0][clock])[1:-1] == ["start", "scorer", "search", "report"]
        assert sum(parts) == pytest.approx(whole)
    # 0.5 and -1.5; with one degree of freedom 12.706 standard errors, of 1, either way.
    assert "here less older: -0.50 points, 95 % interval [-13.21, 12.21]" in capsys.readouterr().out


def test_ratios_are_of_the_same_round():
    assert ratios([1.0, 6.0], [2.0, 3.0]) == [0.5, 2.0]


def test_the_table_has_the_rows_of_every_script_also_after_one_that_failed(
    fakes, tmp_path, monkeypatch, capfd
):
    output = tmp_path / "table.md"
    assert run(monkeypatch, "--against", "OLD", "--output", str(output)) == 1
    shown = capfd.readouterr().out
    assert "given ['--size', '3', '--against=OLD']" in shown
    assert shown.count("OLD") == 1  # the other scripts do not take it
    written = output.read_text()
    assert shown.endswith(written)
    head, _, rows = written.partition("\n\n")
    assert f"torch {torch.__version__}" in head
    assert "thread" in head
    assert rows.splitlines() == [
        "| what          |   median |         range | n |",
        "| --- | ---: | ---: | ---: |",
        "| `first --size 3` |  | | |",
        "| ours / theirs |     1.00 |    0.500-2.25 | 3 |",
        "| a run         |  1235 ms |               | 1 |",
        "| `broken` | failed, status 3 | | |",
        "| `last` |  | | |",
        "| other / one | needs --against |  |  |",
        "| one           | 0.0162 s | 0.0123-0.0200 | 2 |",
    ]


def test_only_the_named_scripts_run(fakes, monkeypatch, capfd):
    assert run(monkeypatch, "--only", "last") == 0
    shown = capfd.readouterr().out
    assert "`last`" in shown
    assert "ours / theirs" not in shown


def test_an_unknown_script_is_one_line_and_nothing_runs(fakes, monkeypatch, capfd):
    assert run(monkeypatch, "--only", "last", "lats") == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err == "--only: found 'lats'; allowed: first, broken, last\n"


@pytest.mark.parametrize("script", table.SCRIPTS, ids=lambda script: script.name)
def test_every_script_takes_the_arguments_that_the_table_gives_it(script, monkeypatch):
    class ParsedError(Exception):
        pass

    def parse(parser, real=argparse.ArgumentParser.parse_args):
        real(parser)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    words = [*script.arguments.split(), *(f"--{name}=x" for name in script.passed)]
    monkeypatch.setattr(sys, "argv", [script.name, *words, "--json", "x"])
    with pytest.raises(ParsedError):
        importlib.import_module(f"benchmarks.{script.name}").main()


def test_the_gpu_benchmark_of_compiled_cells_says_what_compilation_took(monkeypatch):
    """Without a GPU: the search is replaced, and so nothing is compiled."""
    configs = []

    def search(parts, classes, augmentation, config, seed, work, device):
        configs.append(config)
        work.spent("compilation", 2.0)
        work.spent("compilation", 0.5)
        work.spent("pruning round 1", 9.0)

    monkeypatch.setattr(gpu, "search", search)
    dataset, cpu = gpu.make_dataset(400, 8), torch.device("cpu")
    config = SearchConfig(channels=4, cells=3, batch_size=16, epochs=2, warmup_epochs=0)
    rows = [gpu.measure_search(dataset, 0.5, config, cpu, "fp32", "off", m) for m in ("off", "on")]
    assert [each.compile for each in configs] == [row["compile"] for row in rows] == ["off", "on"]
    assert [row["compilation_seconds"] for row in rows] == [2.5, 2.5]
    record = {"device": "a device", "torch": "2", "compiled search of a tenth": rows}
    *_, plain, compiled = (line for line in gpu.render(record).splitlines() if line)
    assert "graphs off, compile off: " in plain
    assert "compilation" not in plain
    assert compiled.endswith(" s, of them compilation 2.5 s")


@pytest.mark.long
def test_the_gpu_benchmark_writes_its_tables(tmp_path, monkeypatch):
    small = "--images 400 --side 8 --batch-size 16 --epochs 2 --channels 4 --cells 3 --repeats 1"
    arguments = ["gpu", "--device", "cpu", "--output", str(tmp_path), *small.split()]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu.main()
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["iteration"]["variants"].keys() == {"ours", "plain"}
    assert record["iteration"]["base"] == "plain"
    assert [row["images"] for row in record["search of a tenth"]] == [40]
    assert [row["images"] for row in record["search of all"]] == [400]
    assert record["profile"][0]["share"] <= 1
    table = (tmp_path / "gpu.md").read_text()
    assert "| ours |" in table
    assert "- search on 40 images, 2 epochs, fp32" in table

"""The cost of a whole run: in results.json, in the first table of a report, at the end of `run`."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from classification.errors import ArtifactError
from pipeline.console import Console
from pipeline.reports.page import cost_row, describe_whole_run, head_rows
from pipeline.reports.run import log_results
from pipeline.run_folder import RunFolder
from pipeline.store.checksum import add_checksum
from pipeline.store.ledger import Attempt, Ledger


def attempt(stage, seconds, outcome="done", started="1", threads=2):
    return Attempt(
        stage, stage, "photos", started, seconds, "CPU", "cpu", 1, outcome, threads=threads
    )


@pytest.fixture
def results(tmp_path):
    """Two minutes of search after a killed attempt of one, 27 of retraining, 6 of an attack."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(attempt("search", 60, "killed"))
    ledger.append(attempt("search", 120, started="2"))
    ledger.append(attempt("retrain", 27 * 60))
    ledger.append(attempt("robustness", 6 * 60))
    ledger.append(attempt("of another run", 9999))
    made = {name: SimpleNamespace(fingerprint=name) for name in ("search", "retrain", "robustness")}
    return describe_whole_run(made, SimpleNamespace(ledger=ledger)) | {
        "accuracy": {"top1_error_last": 57.9832},
        "cost": {"unit": "CPU-hours", "search_alone": 0.1, "total": 0.2},
        "classes": {
            "names": ["boa", "goose"],
            "evaluated": "val",
            "test_images": [60, 59],
            "interval": [48.996, 66.466],
            "guessing_error": 49.5798,
        },
    }


def test_the_whole_run_has_all_stages_and_all_attempts(results):
    assert results["whole_run"] == {"gpu_hours": 0, "cpu_hours": 1.2, "wall_hours": 0.6}


def test_the_first_table_says_how_sure_the_error_is_and_what_the_run_cost(results):
    assert dict(head_rows(results)) == {
        "95 % interval of this error": "49.00 to 66.47 % (119 val images, Wilson 1927)",
        "error of guessing": "49.58 % (always the most frequent of the 2 classes)",
        "cost of the whole run": "1.2 CPU-hours (all stages and attempts)",
        "wall time of the whole run": "36 min (all stages and attempts)",
    }


def test_a_run_ends_with_its_total_cost_and_the_command_that_predicts(results, tmp_path):
    folder, stream = RunFolder(tmp_path / "my runs" / "photos"), io.StringIO()
    folder.report.mkdir(parents=True)
    (folder.report / "results.json").write_text(json.dumps(add_checksum(results)))
    config = SimpleNamespace(goal="network", genotype=None)
    log_results(folder, config, Console(stream))
    lines = stream.getvalue().splitlines()
    assert lines[2:5] == [
        "cost        1.2 CPU-hours for the whole run, 36 min of wall time",
        "            6 CPU-minutes for the search alone",
        "            12 CPU-minutes with the stages before it",
    ]
    command = f"python run_pipeline.py predict photos IMAGE --runs '{tmp_path}/my runs'"
    assert lines[-1] == f"predict     {command}"


@pytest.mark.parametrize(("waited", "note"), [(780, "65%"), (60, None), (None, None)])
def test_a_stage_that_other_programs_slowed_says_so(waited, note):
    slowed = replace(attempt("retrain", 1200), waited_seconds=waited)
    found = cost_row("retrain", [slowed], "photos")["note"]
    words = "other programs held the processors for at least {} of the wall time"
    assert found == ("" if note is None else words.format(note))


def test_an_unknown_run_names_the_option_that_finds_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"no run called 'photos'; .*--runs FOLDER"):
        RunFolder.open(tmp_path, "photos")

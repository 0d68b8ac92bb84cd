"""The command line as a person meets it, on a pipeline that takes seconds."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from run_pipeline import COMMANDS, main
from tests.tiny import TINY

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the tiny run has ended."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    assert command(folder, "run", str(folder / "tiny.yaml")) == 0
    return folder


def command(folder, name, *arguments):
    places = ["--runs", str(folder / "runs")]
    if name == "run":
        places += ["--artifacts", str(folder / "artifacts")]
        places += [] if "--device" in arguments else ["--device", "cpu"]
    return main(
        [
            name,
            *arguments,
            *(places if name in ("run", "status", "report", "plot", "table") else []),
        ]
    )


def refusal(capsys, status=2):
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err


def test_the_report_holds_what_was_found_and_what_it_cost(finished):
    report = finished / "runs" / "tiny" / "report"
    results = json.loads((report / "results.json").read_text())
    assert set(results) >= {"device", "seed", "subset", "genotype", "network", "accuracy", "cost"}
    sizes = results["subset"].pop("class_histogram")
    assert sizes == {"train": dict.fromkeys("012", 24), "subset": dict.fromkeys("012", 12)}
    assert set(results["subset"]) == {"measure", "order", "fraction", "size", "reliability"}
    assert results["subset"]["size"] == 36
    sizes = {"channels", "parameters", "multiply_adds", "all_multiply_adds"}
    assert set(results["network"]) == sizes | {"footprint"}
    cost = results["cost"]
    assert cost["unit"] == "CPU-hours"
    assert cost["search_alone"] == cost["stages"]["search"]
    before = sum(cost["stages"][name] for name in ("scorer", "scores", "subset", "search"))
    assert cost["total"] == pytest.approx(before, abs=1e-7)
    assert results["start_up"]["wall_seconds"] > 0
    text = (report / "report.md").read_text()
    assert re.search(r"\| start-up and loading images \| [\d.]+ CPU-\w+ \| [\d.]+ s \|", text)
    assert "hours" not in text.split("## Cost")[1].split("## The network")[0]
    for figure in report.glob("*.png"):
        assert f"({figure.name})" in text
    assert "| scorer, resnet8 |" in text
    assert "(published)" not in text  # the paper's table is of ImageNet
    assert f"{results['network']['parameters']:,}" in text


def test_running_again_reuses_everything(finished, capsys):
    assert command(finished, "run", str(finished / "tiny.yaml")) == 0
    assert capsys.readouterr().out.count("reused") == 5


def test_a_run_under_another_name_shares_the_artifacts(finished, capsys):
    config = str(finished / "tiny.yaml")
    assert command(finished, "run", config, "--name", "again", "--until", "subset") == 0
    capsys.readouterr()
    assert command(finished, "status", "again") == 0
    shown = capsys.readouterr().out
    assert shown.count("reused from run tiny") == 5
    assert "report   pending" in shown


def test_a_random_subset_needs_no_scorer(finished, capsys):
    config = str(finished / "tiny.yaml")
    overrides = ["--set", "subset.measure=random", "--name", "random", "--dry-run"]
    assert command(finished, "run", config, *overrides) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()] == ["subset", "search", "retrain"]
    assert not (finished / "runs" / "random").exists()


def test_machines_get_json_and_nothing_else_on_standard_output(finished, capsys):
    config = str(finished / "tiny.yaml")
    assert command(finished, "run", config, "--json") == 0
    captured = capsys.readouterr()
    ran = json.loads(captured.out)
    assert "reused" in captured.err
    written = json.loads((finished / "runs" / "tiny" / "report" / "results.json").read_text())
    assert written.pop("checksum")
    assert ran["results"] == written
    assert set(ran["stages"]) == {"scorer", "scores", "subset", "search", "retrain"}
    assert command(finished, "run", config, "--json", "--dry-run") == 0
    assert {step["action"] for step in json.loads(capsys.readouterr().out)} == {"reuse"}
    assert command(finished, "status", "tiny", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [stage["state"] for stage in told["stages"]] == ["done"] * 5
    assert told["cost"]["gpu_hours"] == 0 < told["cost"]["cpu_hours"]
    assert main(["config", config, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"


def test_quiet_says_nothing_but_what_went_wrong(finished, capsys):
    config = str(finished / "tiny.yaml")
    assert command(finished, "run", config, "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    assert command(finished, "run", config, "--quiet", "--until", "nothing") == 2
    assert "--until: found 'nothing'" in refusal(capsys)


def test_plot_draws_runs_and_names_what_it_wrote(finished, capsys):
    picture = finished / "plot.svg"
    assert command(finished, "plot", "tiny", "-o", str(picture), "--x", "total") == 0
    assert capsys.readouterr().out.strip() == str(picture)
    assert "high-CV" in picture.read_text()
    note = "One run gives one point"
    assert note in picture.read_text()
    assert command(finished, "plot", "tiny", "tiny", "-o", str(picture)) == 0
    assert note not in picture.read_text()


def test_a_run_that_searched_is_no_row_of_a_table(finished, capsys):
    assert command(finished, "table", "tiny") == 2
    assert "RUN: the goal of tiny is not a classifier" in refusal(capsys)


def test_a_classifier_is_no_point_of_a_plot(finished, capsys):
    config = str(finished / "tiny.yaml")
    assert command(finished, "run", config, "--set", "goal=classifier", "--name", "alone") == 0
    assert "scorer   reused" in capsys.readouterr().out
    assert command(finished, "plot", "tiny", "alone", "-o", str(finished / "no.png")) == 2
    assert "RUN: alone trained a classifier and has no search" in refusal(capsys)
    assert not (finished / "no.png").exists()


def test_report_is_written_again_from_the_artifacts(finished):
    report = finished / "runs" / "tiny" / "report" / "report.md"
    before = report.read_text()
    report.unlink()
    assert command(finished, "report", "tiny") == 0
    assert report.read_text() == before


def test_another_config_under_the_same_name_keeps_the_old_report(finished):
    config = str(finished / "tiny.yaml")
    assert command(finished, "run", config, "--name", "kept", "--until", "scorer") == 0
    override = ["--set", "retrain.epochs=3"]
    assert command(finished, "run", config, "--name", "kept", "--until", "scorer", *override) == 0
    kept = finished / "runs" / ".history" / "kept-1" / "config.yaml"
    assert "epochs: 2" in kept.read_text()


def test_graph_prints_and_draws_the_stages(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(TINY)
    picture = tmp_path / "graph.svg"
    assert main(["graph", str(tmp_path / "tiny.yaml"), "-o", str(picture)]) == 0
    assert "search   ← data, subset" in capsys.readouterr().out
    assert "retrain" in picture.read_text()


def test_config_prints_the_resolved_config_or_the_schema(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert main(["config", str(tmp_path / "tiny.yaml"), "--set", "seed=7"]) == 0
    assert "seed: 7" in capsys.readouterr().out
    assert main(["config", str(tmp_path / "tiny.yaml"), "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"run_pipeline.py {name}" in " ".join(capsys.readouterr().out.split())


def test_help_fits_a_screen_and_does_not_wait_for_torch():
    code = (
        "import sys, run_pipeline; run_pipeline.main(['--help']); sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) <= 35
    assert max(map(len, lines)) <= 80
    commands = lines[lines.index("Commands:") + 1 :][: len(COMMANDS)]
    assert [line.split()[0] for line in commands] == list(COMMANDS)


def test_every_command_is_a_module_and_every_module_a_command():
    modules = {path.stem for path in (ROOT / "pipeline" / "commands").glob("[a-z]*.py")}
    assert modules - {"options"} == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "search.epoch=3"], "search.epoch"),
        (["--set", "search.epochs=many"], "search.epochs"),
        (["--set", "data.kind=mnist"], "data.kind"),
        (["--set", "data={kind: folder, root: nowhere}"], "nowhere"),
        (["--set", "subset.fraction=0.01"], "search.batch_size: 16 exceeds a search half of 3"),
        (["--set", "search.batch_size=512"], "search.batch_size"),
        (["--set", "search.precision=bf16"], "search.precision: found 'bf16' on a cpu"),
        (["--set", "search.cuda_graph=on"], "search.cuda_graph: found 'on' on a cpu"),
        (["--set", "search.cuda_graph=maybe"], "search.cuda_graph: found 'maybe'"),
        (["--set", "scorer.precision=bf16"], "scorer.precision: found 'bf16' on a cpu"),
        (["--set", "scores.precision=bf16"], "scores.precision: found 'bf16' on a cpu"),
        (["--set", "retrain.batch_size=512"], "retrain.batch_size"),
        (["--set", "scorer.batch_size=512"], "scorer.batch_size"),
        (["--set", "retrain={network: imagenet, batch_size: 32}"], "target.image_size"),
        (["--set", "scorer.weights=nowhere.pt"], "nowhere.pt"),
        (["--set", "goal=classifer"], "goal: found 'classifer'"),
        (
            ["--set", "goal=classifier", "--until", "search"],
            "--until: found 'search'; allowed: scorer",
        ),
        (
            ["--set", "goal=classifier", "--set", "scorer.weights=w.pt"],
            "scorer.weights: found 'w.pt'",
        ),
        (["--set", "goal=classifier", "--set", "scorer.batch_size=512"], "scorer.batch_size"),
        (["--set", "scorer.mixing={kind: cutmix, num_images: 3}"], "scorer.mixing: num_images 3"),
        (["--until", "serach"], "--until: found 'serach'; did you mean search?"),
        (["--only", "search"], "subset is needed"),
        (["--force", "everything"], "--force: found 'everything'"),
        (["--device", "tpu"], "--device: found 'tpu'"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_starts(tmp_path, capsys, arguments, expected):
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert command(tmp_path, "run", str(tmp_path / "tiny.yaml"), *arguments) == 2
    assert expected in refusal(capsys)
    assert not list(tmp_path.glob("artifacts/*/*-*"))
    assert not list(tmp_path.glob("artifacts/ledger.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status", "nobody"], "no run called 'nobody'"),
        (["report", "nobody"], "no run called 'nobody'"),
        (["plot", "nobody", "-o", "x.png"], "no run called 'nobody'"),
        (["plot", "nobody", "-o", "x.xlsx"], "x.xlsx"),
        (["plot", "nobody", "-o", "x.png", "--x", "time"], "--x: found 'time'"),
        (["table", "nobody"], "no run called 'nobody'"),
        (["table"], "RUN..."),
        (["graph", "nowhere.yaml"], "nowhere.yaml"),
        (["sweep", "nowhere.yaml"], "nowhere.yaml"),
        (["sweep", "configs/quickstart.yaml", "--jobs", "0"], "--jobs: found 0"),
        (["sweep", "configs/quickstart.yaml"], "base: missing"),
        (["dance"], "no such command 'dance'; allowed: init, "),
        (["rnu"], "no such command 'rnu'; did you mean run?"),
        (["status", "--art"], "--artifacts"),
    ],
)
def test_other_commands_refuse_in_one_line_too(capsys, arguments, expected):
    assert main(arguments) == 2
    assert expected in refusal(capsys)


def test_a_scorer_of_other_classes_is_refused(finished, capsys):
    weights = next((finished / "artifacts" / "scorer").glob("*/scorer.safetensors"))
    config = str(finished / "tiny.yaml")
    overrides = ["--set", f"scorer.weights={weights}", "--set", "data.classes=4"]
    assert command(finished, "run", config, "--name", "other", *overrides) == 2
    assert "3 classes" in refusal(capsys)


def test_the_genotype_is_retrained_on_large_images_that_stay_in_their_files(finished, tmp_path):
    """The ImageNet network on a folder, as configs/cifar100-imagenet.yaml does at full size."""
    for split in ("train", "val"):
        for value, name in enumerate(("ant", "bee")):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(4):
                image = Image.new("RGB", (80 + index, 90), (200 * value, 30 * index, 60))
                image.save(tmp_path / split / name / f"{index}.jpeg")
    folder = f"{{kind: folder, root: {tmp_path}, image_size: 64, storage: files, workers: 1}}"
    network = (
        "{network: imagenet, channels: 4, cells: 3, epochs: 2, warmup_epochs: 1, batch_size: 4}"
    )
    config = str(finished / "tiny.yaml")
    overrides = ["--set", f"target={folder}", "--set", f"retrain={network}", "--name", "large"]
    assert command(finished, "run", config, *overrides) == 0
    report = finished / "runs" / "large" / "report"
    assert "64×64" in (report / "report.md").read_text()
    results = json.loads((report / "results.json").read_text())
    assert 0 <= results["accuracy"]["top1_error_last"] <= 100


def test_the_scorer_of_a_run_can_be_loaded_by_another(finished, capsys):
    weights = next((finished / "artifacts" / "scorer").glob("*/scorer.safetensors"))
    config = str(finished / "tiny.yaml")
    overrides = ["--set", f"scorer.weights={weights}", "--until", "scores"]
    assert command(finished, "run", config, "--name", "loaded", *overrides) == 0
    assert "not included" in capsys.readouterr().out
    (kept,) = (finished / "artifacts" / "scorer").glob("*/normalization.json")
    of_run = json.loads((weights.parent / "artifact.json").read_text())["preprocessing"]
    kept = json.loads(kept.read_text())
    assert kept == {"mean": of_run["mean"], "std": of_run["std"]}


@pytest.mark.parametrize(
    "name",
    ["SIGINT", *(pytest.param(name, marks=pytest.mark.long) for name in ("SIGKILL", "SIGTERM"))],
)
def test_a_stopped_run_ends_as_if_it_had_not_stopped_and_its_cost_is_kept(finished, tmp_path, name):
    """A signal during the search; then the same command again; then the same bytes."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    arguments = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(tmp_path / "tiny.yaml")]
    places = ["--artifacts", str(tmp_path / "artifacts"), "--runs", str(tmp_path / "runs")]
    again = [*arguments, *places, "--device", "cpu"]
    process = subprocess.Popen(
        again,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if line.startswith("search   epoch 1"):
            process.send_signal(getattr(signal, name))
            break
    _, errors = process.communicate(timeout=120)
    if name != "SIGKILL":
        assert process.returncode == 130
        assert "resume with: python run_pipeline.py run" in errors
    assert subprocess.run(again, capture_output=True, timeout=300).returncode == 0
    lines = (tmp_path / "artifacts" / "ledger.jsonl").read_text().splitlines()
    ledger = [json.loads(line) for line in lines]
    outcomes = [attempt["outcome"] for attempt in ledger if attempt["stage"] == "search"]
    assert outcomes == ["killed" if name == "SIGKILL" else "interrupted", "done"]
    compared = 0
    for resumed in (tmp_path / "artifacts").glob("*/*/*.*"):
        whole = finished / "artifacts" / resumed.relative_to(tmp_path / "artifacts")
        assert whole.read_bytes() == resumed.read_bytes(), resumed
        compared += 1
    assert compared >= 15


def test_a_run_interrupted_between_its_stages_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.run_folder.RunFolder.record", stop)
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert command(tmp_path, "run", str(tmp_path / "tiny.yaml")) == 130
    assert "no work was lost; resume with: python run_pipeline.py run" in refusal(capsys)

"""A given genotype, and a budget: the pipeline from the config to report and exports."""

import json
from pathlib import Path

import pytest

from evaluate.complexity import measure_complexity
from pcdarts.network import CifarNetwork
from pcdarts.published_genotypes import GENOTYPES
from pipeline.exports.genotype import darts_form
from run_pipeline import main
from tests.tiny import TINY, Place

BUDGET = "budget={parameters: 20K, latency: 1000s}"


def parameters(channels: int) -> int:
    build = lambda: CifarNetwork(GENOTYPES["darts_v2"], 3, channels, cells=3, auxiliary=False)  # noqa: E731
    return measure_complexity(build, 8).parameters


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that retrains a published genotype within a budget."""
    place = Place(tmp_path_factory.mktemp("given"), TINY + "genotype: darts_v2\n")
    assert place.run("retrain.epochs=1", BUDGET) == 0
    return place


def test_neither_scorer_nor_search_runs(place: Place) -> None:
    made = (place.folder / "artifacts").iterdir()
    assert sorted(each.name for each in made if each.is_dir()) == ["genotype", "retrain", "width"]
    results = place.results()
    assert results["genotype"] == GENOTYPES["darts_v2"].to_dict()
    assert "Liu et al. 2019" in results["origin"]


def test_the_retrained_network_is_the_widest_within_the_budget(place: Place) -> None:
    network = json.loads((place.artifact("retrain") / "network.json").read_text())
    channels = network["channels"]
    assert channels != 4  # that of retrain.channels
    assert network["parameters"] == parameters(channels) <= 20_000 < parameters(channels + 2)
    width = place.results()["network"]["width"]
    assert width == json.loads((place.artifact("width") / "width.json").read_text())
    assert width["next"]["parameters"] == parameters(channels + 2)
    assert width["latency_measured"]["runs"] == 25
    assert f"| width | {channels} channels, the widest within the budget: " in place.report()


def test_a_resumed_run_keeps_the_width(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    width = (place.artifact("width") / "width.json").read_bytes()
    before = (place.artifact("retrain") / "network.safetensors").read_bytes()
    monkeypatch.setattr("evaluate.width.measure_latency", lambda *_: 0.5)  # another measurement
    assert place.run("retrain.epochs=1", BUDGET, options=["--force", "retrain"]) == 0
    assert (place.artifact("width") / "width.json").read_bytes() == width
    assert (place.artifact("retrain") / "network.safetensors").read_bytes() == before


def test_a_dry_run_does_without_a_damaged_width(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    file = place.artifact("width") / "width.json"
    intact = file.read_bytes()
    file.write_bytes(b"{")
    assert place.run("retrain.epochs=1", BUDGET, options=["--dry-run"]) == 0
    shown = capsys.readouterr().out
    file.write_bytes(intact)
    assert "width is made again" in shown
    assert "width: 14 channels, the widest within the budget" in shown


def test_a_file_of_the_same_genotype_gives_the_same_weights(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (place.artifact("retrain") / "network.safetensors").read_bytes()
    file = place.folder / "genotypes.py"
    file.write_text(f"OURS = {darts_form(GENOTYPES['darts_v2'])}\n")
    settings = ("retrain.epochs=1", BUDGET, f"genotype={file}")
    assert place.run(*settings, name="file", options=["--dry-run"]) == 0
    assert "width: 14 channels, the widest within the budget" in capsys.readouterr().out
    assert place.run(*settings, name="file") == 0
    assert (place.artifact("retrain", "file") / "network.safetensors").read_bytes() == before


def test_the_network_is_exported_with_its_width(place: Place, tmp_path: Path) -> None:
    for form in ("safetensors", "genotype"):
        own = ["--as", form, "-o", str(tmp_path / form), *place.places]
        assert main(["export", "tiny", *own]) == 0
    config = json.loads((tmp_path / "safetensors" / "config.json").read_text())
    assert config["channels"] == place.results()["network"]["channels"]
    exported = json.loads((tmp_path / "genotype" / "genotype.json").read_text())
    assert exported == GENOTYPES["darts_v2"].to_dict()


def test_an_estimate_shows_the_width(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seconds", "0.01"]
    arguments = ["estimate", str(place.config), *options, *place.places[:2], "--device", "cpu"]
    assert main([*arguments, "--set", "budget={parameters: 10K}"]) == 0
    assert " channels" in capsys.readouterr().out
    assert main([*arguments, "--set", "budget={parameters: 10K}", "--set", "genotype=null"]) == 0
    assert "channels, which depends on the network found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["genotype=darts_v3"], "genotype: found 'darts_v3', which is no published genotype"),
        (["genotype=FOREIGN"], "foreign: normal: found 10 edges; a cell has 8"),
        (["budget={parameters: 300}"], "budget.parameters: 300 is below the 887 of the narrowest"),
        (["genotype=null", "budget={parameters: 300}"], "budget.parameters: 300 is below the 601"),
        (["budget={latency: 20}"], "budget.latency: found 20; allowed: a time above 0 with its"),
        (["budget={}"], "budget: allowed: at least one of parameters, multiply_adds and latency"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    settings: list[str], message: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = place.folder / "foreign"
    edges = "('skip_connect', 0), ('skip_connect', 1), " * 5
    foreign.write_text(f"Genotype(normal=[{edges}], reduce=[{edges}])")
    given = [each.replace("FOREIGN", str(foreign)) for each in settings]
    assert place.run(*given, name="bad") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (place.folder / "runs" / "bad").exists()

"""The compare command over made-up artifacts, so that every figure can be worked out by hand."""

import json

import pytest

from pipeline.config import load_config
from pipeline.run_folder import RunFolder
from pipeline.store.ledger import Attempt
from pipeline.store.store import Store
from run_pipeline import main

BASE = """
name: base
goal: classifier
data:    {kind: digits, classes: 3}
scorer:  {model: resnet8, mixing: {kind: none}}
robustness: {epsilons: [8/255]}
landscape: {}
"""
DCUTMIX = "scorer.mixing={kind: dcutmix, num_images: 5, alpha: 0.2}"
ATTACKS = {
    "attacks": ["fgsm", "pgd"], "epsilons": [8 / 255], "step": 2 / 255, "steps": 10,
    "restarts": 1, "images": None, "batch_size": 250,
}  # fmt: skip


def attacked(clean, fgsm, pgd, gray=None, aupr=None):
    """What a robustness artifact holds, of 1000 images; shares in percent."""

    def accuracy(percent):
        return {"accuracy": percent / 100, "correct": 10 * percent, "images": 1000}

    def attack(kind, name, percent):
        curve = [{"epsilon": 8 / 255, **accuracy(percent)}]
        return {"kind": kind, "architecture": "resnet8", "attack": name, "curve": curve}

    attacks = [attack("white-box", "fgsm", fgsm), attack("white-box", "pgd", pgd)]
    attacks += [attack("gray-box", "pgd", gray)] if gray is not None else []
    other = {"aupr": aupr, "images": 30, "known_images": 70}
    return {
        "of": "scorer",
        "architecture": "resnet8",
        "images": 1000,
        "clean": accuracy(clean),
        "attacks": attacks,
        "shift": {} if aupr is None else {"out_of_distribution": other},
    }


def drawn(trained, rise, eigenvalue=4.0):
    """What a landscape artifact holds: the loss rises by `rise` at α = ±1."""
    return {
        "of": "scorer",
        "images": 90,
        "split": "test",
        "batch_norm": "eval mode",
        "trained": {"loss": trained, "accuracy": 0.5},
        "line": {
            "alphas": [-1.0, 0.0, 1.0],
            "losses": [trained + rise, trained, trained + rise],
            "accuracies": [0.1, 0.5, 0.1],
        },
        "noise": {
            "scale": "filter", "draws": 2, "sigmas": [0.1], "loss_means": [trained + 0.25],
            "loss_deviations": [0.1], "accuracy_means": [0.4], "accuracy_deviations": [0.1],
        },
        "plane": None,
        "hessian": {"eigenvalues": [eigenvalue], "trace": 9.0, "trace_error": None},
    }  # fmt: skip


class Place:
    """Runs whose artifacts are written by hand."""

    def __init__(self, folder):
        self.folder, self.runs = folder, folder / "runs"
        self.store = Store(folder / "artifacts")
        self.base = folder / "base.yaml"
        self.base.write_text(BASE)

    def publish(self, stage, key, settings, inputs, files):
        work = self.store.workspace(stage, key)
        work.mkdir(parents=True)
        for name, content in files.items():
            (work / name).write_text(json.dumps(content))
        self.store.publish(stage, key, {"settings": settings, "inputs": inputs})

    def add(self, name, result, *overrides, seed=0, images="images", stage="robustness", **changes):
        """A run; `changes` are of the stage's settings."""
        config = load_config(self.base, [*overrides, f"seed={seed}"], name)
        scorer = {"scorer": config.scorer.model_dump(mode="json"), "seed": seed}
        data = {"data": {"content_hash": images}}
        self.publish("scorer", f"scorer-{name}", scorer, data, {})
        settings = {
            "of": "scorer",
            "seed": seed,
            stage: (ATTACKS if stage == "robustness" else {"radius": 1.0, "batch_size": 8})
            | {key: value for key, value in changes.items() if key not in ("substitutes", "shift")},
            "substitutes": changes.get("substitutes", []),
            "shift": changes.get("shift", {}),
        }
        inputs = data | {"scorer": {"fingerprint": f"scorer-{name}", "digest": "d"}}
        if result is not None:
            self.publish(stage, name, settings, inputs, {f"{stage}.json": result})
        attempt = Attempt(stage, name, name, "now", 3600.0, "a device", "cpu", 2, "done")
        self.store.ledger.append(attempt)
        stages = {"scorer": f"scorer-{name}"} | ({stage: name} if changes.get("asked", 1) else {})
        RunFolder.record(self.runs, config, stages, self.store.root, "a device")

    def compare(self, *names, stage="robustness", options=()):
        arguments = ["--stage", stage, "-o", str(self.folder / "out"), "--runs", str(self.runs)]
        return main(["compare", *names, *arguments, *options])

    def written(self, name):
        return (self.folder / "out" / name).read_text()

    def text(self, page):
        """A page as one line."""
        return " ".join(self.written(page).split())

    def rows(self, page, heading):
        """A table as a list of mappings from its columns' titles."""
        lines = self.written(page).split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
        split = [[c.strip() for c in row.strip("|").split("|")] for row in lines if row[:1] == "|"]
        return [dict(zip(split[0], row, strict=True)) for row in split[2:]]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def refusal(capsys):
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_table_5_has_a_row_a_setting_with_mean_deviation_and_the_gain_over_vanilla(place, capsys):
    place.add("v-0", attacked(60, 10, 4))
    place.add("v-1", attacked(62, 14, 6), seed=1)
    place.add("d-0", attacked(70, 25, 5), DCUTMIX)
    assert place.compare("v-0", "d-0", "v-1") == 0
    vanilla, dcutmix = place.rows("table5.md", "Measured here: white-box")
    assert vanilla == {
        "classifier": "no mixing",
        "n": "2",
        "clean": "61.00 ± 1.41",
        "FGSM 8/255": "12.00 ± 2.83",
        "PGD-10 8/255": "5.00 ± 1.41",
    }
    assert dcutmix == {
        "classifier": "DCutMix, K = 5, α = 0.2",
        "n": "1",
        "clean": "70.00 (+9.00)",
        "FGSM 8/255": "25.00 (+13.00)",
        "PGD-10 8/255": "5.00 (+0.00)",
    }
    shown = capsys.readouterr().out
    assert place.written("table5.md") in shown
    assert "resnet8 on digits, 3 classes" in shown
    assert not (place.folder / "out/table4.md").exists()
    assert (place.folder / "out/robustness.png").stat().st_size > 10_000


def test_the_papers_rows_stand_beside_them_and_are_called_the_papers(place):
    place.add("v-0", attacked(60, 10, 4, aupr=0.5))
    assert place.compare("v-0") == 0
    for page, number in (("table5.md", "32.90 (+18.56)"), ("table4.md", "16.73")):
        published = place.written(page).split("## The paper's Table")[1]
        assert "**Published figures**, the paper's, not measured here" in published
        assert number in published
    assert json.loads(place.written("comparison.json"))["published"]["measured_here"] is False


def test_pages_name_the_images_as_the_runs_do(place):
    held_out = f"data={{kind: folder, root: {place.folder}, hold_out: 0.2}}"
    place.add("v-0", attacked(60, 10, 4, aupr=0.5))
    place.add("h-0", attacked(60, 10, 4, aupr=0.5), held_out, seed=1)
    names = {"test": ["v-0"], "held-out": ["h-0"], "evaluated": ["v-0", "h-0"]}
    for name, runs in names.items():
        assert place.compare(*runs, options=["--overwrite"]) == 0
        assert f"Top-1 accuracy (%) on 1,000 {name} images, under" in place.text("table5.md")
        assert f"of unknown classes from the {name} images: area" in place.text("table4.md")


def test_table_4_has_the_aupr_and_what_chance_would_have(place):
    place.add("v-0", attacked(60, 10, 4, aupr=0.42))
    place.add("d-0", attacked(70, 25, 5, aupr=0.4), DCUTMIX)
    assert place.compare("v-0", "d-0") == 0
    rows = place.rows("table4.md", "Measured here")
    assert [row["other dataset AUPR (%)"] for row in rows] == ["42.00", "40.00 (-2.00)"]
    assert "Chance level: 30.00 % (other dataset)" in place.written("table4.md").replace("\n", " ")
    assert "AUPR" not in place.written("table5.md")


def test_json_holds_every_number_by_seed_and_differences_paired_by_seed(place):
    place.add("v-0", attacked(60, 10, 4))
    place.add("v-1", attacked(62, 14, 6), seed=1)
    place.add("d-0", attacked(70, 25, 5), DCUTMIX)
    place.add("d-1", attacked(74, 35, 9), DCUTMIX, seed=1)
    assert place.compare("v-0", "v-1", "d-0", "d-1") == 0
    found = json.loads(place.written("comparison.json"))
    assert found["differences_from"] == "no mixing"
    _, dcutmix = found["classifiers"]
    assert [run["name"] for run in dcutmix["runs"]] == ["d-0", "d-1"]
    assert dcutmix["runs"][0]["cost"] == {"unit": "CPU-hours", "hours": 2.0}
    clean, fgsm, _ = dcutmix["values"]
    assert (fgsm["part"], fgsm["column"]) == ("white-box", "FGSM 8/255")
    assert fgsm["by_seed"] == {"0": 25.0, "1": 35.0}
    assert fgsm["summary"]["mean"] == 30
    assert fgsm["difference"]["mean"] == pytest.approx(18)  # of 15 and 21
    assert clean["difference"]["std"] == pytest.approx(2**0.5)  # of 10 and 12


def test_a_substitute_that_some_were_attacked_from_has_a_table_with_gaps(place):
    weights = [{"model": "resnet8", "weights": "digest"}]
    place.add("v-0", attacked(60, 10, 4, gray=40), substitutes=weights)
    place.add("v-1", attacked(62, 14, 6), seed=1)
    place.add("d-0", attacked(70, 25, 5), DCUTMIX)
    assert place.compare("v-0", "v-1", "d-0") == 0
    rows = place.rows("table5.md", "Measured here: gray-box from resnet8")
    assert [row["PGD-10 8/255"] for row in rows] == ["40.00 (n = 1)", "–"]
    assert "attacked from different substitutes" in place.written("table5.md")


def test_settings_that_the_mixer_does_not_tell_apart_are_told(place):
    place.add("short", attacked(60, 10, 4), "scorer.epochs=10")
    place.add("long", attacked(62, 14, 6), "scorer.epochs=20")
    place.add("other", attacked(62, 14, 6), "scorer.model=resnet20")
    assert place.compare("short", "long", "other") == 0
    rows = place.rows("table5.md", "Measured here: white-box")
    assert [row["classifier"] for row in rows] == [
        "resnet8, no mixing, scorer.epochs 10",
        "resnet8, no mixing, scorer.epochs 20",
        "resnet20, no mixing",
    ]
    assert "(+" not in str(rows)  # no one vanilla classifier to be better than


def test_figure_3_has_losses_widths_noise_and_curvature(place):
    place.add("v-0", drawn(2.0, 4.0), stage="landscape")
    place.add("v-1", drawn(1.0, 2.0, eigenvalue=6.0), seed=1, stage="landscape")
    place.add("d-0", drawn(1.5, 0.5), DCUTMIX, stage="landscape")
    assert place.compare("v-0", "v-1", "d-0", stage="landscape") == 0
    vanilla, dcutmix = place.rows("figure3.md", "Measured here: loss")
    assert vanilla["loss (nats)"] == "1.500 ± 0.707"
    assert vanilla["half-width (α)"] == "0.375 ± 0.177"  # of 1/4 and 1/2
    assert dcutmix["half-width (α)"] == "–"
    assert place.rows("figure3.md", "Measured here: noise")[1]["σ = 0.1"] == "0.250"
    hessian = place.rows("figure3.md", "Measured here: the loss's Hessian")
    assert (hessian[0]["λ1"], hessian[0]["trace"]) == ("5.00 ± 1.41", "9.00 ± 0.00")
    assert "The paper's Figure 3" in place.written("figure3.md")
    for name in ("landscape-line.png", "landscape-noise.png"):
        assert f"({name})" in place.written("figure3.md")
        assert (place.folder / "out" / name).stat().st_size > 10_000


def test_an_artifact_that_is_not_made_is_named_with_the_command_that_makes_it(place, capsys):
    place.add("v-0", None)
    assert place.compare("v-0") == 2
    error = refusal(capsys)
    command = f"python run_pipeline.py run {place.runs}/v-0/config.yaml"
    assert f"RUN: v-0 has no robustness yet; run: {command} --runs" in error
    place.add("v-1", None, seed=1, asked=0)
    assert place.compare("v-1") == 2
    assert f"{place.runs}/v-1/config.yaml --set 'robustness={{}}' --runs" in refusal(capsys)
    assert not (place.folder / "out").exists()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"images": "others"}, "RUN: one and two have different images (digits, 3 classes; "),
        ({"steps": 20}, "RUN: one has robustness.steps 10 and two 20; allowed: runs of the same"),
        ({"epsilons": [0.1]}, "RUN: one has robustness.epsilons [0.03"),
        ({"seed": 0}, "RUN: one and two are the same training"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(place, capsys, other, expected):
    place.add("one", attacked(60, 10, 4))
    place.add("two", attacked(60, 10, 4), **({"seed": 1} | other))
    assert place.compare("one", "two") == 2
    assert expected in refusal(capsys)
    assert not (place.folder / "out").exists()


def test_other_strange_images_are_refused_and_other_batches_are_not(place, capsys):
    place.add("one", attacked(60, 10, 4, aupr=0.5), shift={"out_of_distribution": "a"})
    place.add("two", attacked(60, 10, 4, aupr=0.5), seed=1, shift={"out_of_distribution": "b"})
    assert place.compare("one", "two") == 2
    assert "one has robustness.shift.out_of_distribution a and two b" in refusal(capsys)
    place.add("three", attacked(60, 10, 4), seed=2, batch_size=10)
    assert place.compare("one", "three") == 0


def test_a_folder_that_holds_something_is_left_alone_unless_asked(place, capsys):
    place.add("v-0", attacked(60, 10, 4))
    (out := place.folder / "out").mkdir()
    assert place.compare("v-0") == 0
    before = place.written("table5.md")
    (out / "mine.txt").write_text("mine")
    (out / "table5.md").write_text("mine")
    capsys.readouterr()
    assert place.compare("v-0") == 2
    assert "out is not empty; allowed: an empty or absent folder, or --overwrite" in refusal(capsys)
    assert place.compare("v-0", options=["--overwrite"]) == 0
    assert place.written("table5.md") == before
    assert (out / "mine.txt").read_text() == "mine"
    (place.folder / "file").write_text("mine")
    assert place.compare("v-0", options=["-o", str(place.folder / "file")]) == 2
    assert "file is a file; allowed: a folder" in refusal(capsys)


def test_a_stage_that_nothing_is_compared_of_and_a_run_that_is_none_are_named(place, capsys):
    place.add("v-0", attacked(60, 10, 4))
    assert place.compare("v-0", stage="scorer") == 2
    assert "--stage: found 'scorer'; allowed: robustness, landscape" in refusal(capsys)
    assert place.compare("absent") == 2
    assert "no run called 'absent'; existing runs: v-0" in refusal(capsys)

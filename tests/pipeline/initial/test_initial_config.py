"""The config that `init` writes: it suits the images, and a run takes it."""

import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

from classification.data.config import DataConfig
from classification.data.file_index import FileIndex, FolderFiles
from classification.data.folder_survey import FolderSurvey, Header, Sample
from classification.data.folders import ImageFolder
from classification.data.layout import Layout
from classification.errors import ConfigError
from pipeline.config import load_config
from pipeline.estimates.expected import RunEstimate, StageEstimate
from pipeline.initial import budget, plan
from pipeline.initial.budget import choose_plan
from pipeline.initial.config import initial_config
from pipeline.initial.plan import Plan, scorers
from pipeline.initial.shapes import fraction_of
from run_pipeline import main


def survey(counts=(500,) * 10, side=32, mode="RGB", root="photos", turned=0, **layout):
    """One of a folder that is nowhere, of images of one size."""
    root = Path(root)
    found = {"train": root / "train", "held_out": root / "test", "val_labels": None}
    classes = tuple(f"c{i:03}" for i in range(len(counts)))
    files = FileIndex.of(root, classes, [FolderFiles([], []) for _ in classes])
    folder = ImageFolder(
        Layout(root, passed_over=(), **(found | layout)), classes, files, files, files
    )
    plain, on_its_side = (Header((side, side), mode, turned=each) for each in (False, True))
    sample = Sample((on_its_side,) * turned + (plain,) * (5 - turned), 5)
    config = DataConfig(kind="folder", root=root, exif_orientation=bool(turned))
    held_out = (10,) * len(counts)
    return FolderSurvey(config, folder, sample, sample, tuple(counts), held_out)


PLAN = Plan("resnet9", 15, 50, 16, 8, 100, {"scorer.model": "a", "retrain.epochs": "b"})


def values(found):
    return yaml.safe_load(initial_config(found, "photos", PLAN))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((500,) * 10, 0.1),  # keeps 50 a class, as the paper does
        ((50,) * 10, 0.26),  # 128 of 500 images, where a tenth would be 50
        ((1000, 1000, 8), 0.1),  # the smallest class keeps two
        ((40, 40, 400), 0.27),  # 128 of 480, more than ten of forty
        ((60,) * 50, 0.17),  # ten of sixty
        ((20, 20), 1.0),  # 128 are more than there are
        ((1000, 1000, 3), 0.1),
        ((15, 15, 4000), 1.0),  # ten of fifteen: more than half
    ],
)
def test_the_fraction_leaves_each_class_enough(counts, expected):
    assert fraction_of(survey(counts)) == expected


def test_small_images_make_the_cifar_network_of_themselves():
    made = values(survey(side=32))
    assert made["data"] == {"kind": "folder", "root": "photos", "image_size": 32}
    assert "target" not in made
    assert made["retrain"]["network"] == "cifar"
    assert scorers(survey(side=32)) == ("resnet8", "resnet9")
    assert made["search"]["batch_size"] == 32  # 250 images a half: 31 an eighth, and 32 at least
    assert made["retrain"]["batch_size"] == 128


def test_large_images_are_searched_on_as_small_copies_and_stay_in_their_files():
    made = values(survey(side=300))
    assert made["data"]["image_size"] == 32
    assert made["target"]["image_size"] == 224
    assert made["retrain"] | {"network": "imagenet", "batch_size": 256} == made["retrain"]
    assert made["retrain"]["learning_rate"] == 0.12  # 0.5 · 256 / 1024, two digits
    assert values(survey(side=150))["target"]["image_size"] == 128
    assert values(survey(side=64))["target"]["image_size"] == 64
    assert values(survey(side=50))["target"]["image_size"] == 48


def test_tiny_images_take_the_light_scorer():
    assert scorers(survey(side=12)) == ("resnet8",)
    made = values(survey(side=12))
    assert made["data"]["image_size"] == 12
    assert values(survey(side=5))["data"]["image_size"] == 8


def test_photographs_that_a_camera_stored_on_their_side_are_turned_upright():
    made = initial_config(survey(side=64, turned=2), "photos", PLAN)
    reason = "  exif_orientation: true # turns upright 4 of the 10 images looked at\n"
    assert made.count(reason) == 2  # of data and target
    assert yaml.safe_load(made)["target"]["exif_orientation"]
    made = initial_config(survey(side=64), "photos", PLAN)
    assert "# exif_orientation: true # none of the 10 images looked at has to be turned" in made
    assert "exif_orientation" not in yaml.safe_load(made)["data"]


def test_comments_say_why_the_fraction_is_not_a_tenth_and_what_a_half_is_for():
    made = initial_config(survey((100,) * 6), "photos", PLAN)
    reason = "132 images; the paper's tenth of 600 is less than 10 a class or 128 in all"
    assert f"fraction: 0.22         # {reason}" in made
    halves = "one half of the subset, 66 images, trains weights, the other the architecture"
    assert f"batch_size: 32         # {halves}" in made
    assert "fraction: 0.1          # the paper's t\n" in initial_config(survey(), "photos", PLAN)


def test_the_scores_are_the_recommended_ones_by_name():
    assert values(survey())["scores"] == {"base": "recommended"}


def test_too_few_images_are_searched_on_whole_without_a_scorer():
    made = values(survey((20, 20)))
    assert made["subset"] == {"measure": "full"}
    assert "scorer" not in made
    assert "scores" not in made


@pytest.mark.parametrize(
    ("counts", "beta"),
    [
        ((300, 66, 10), 0.99),  # 1 - 3 / 300, as in docs/results.md
        ((1500, 500, 500), 0.998),
        ((200_000, 400), 0.9999),  # the largest and the least that Cui et al. tried
        ((15, 5, 5), 0.9),
        ((299, 100, 100), None),  # less than three times as many
        ((500, 500), None),
    ],
)
@pytest.mark.parametrize("side", [32, 300])
def test_unequal_classes_are_weighted_and_equal_ones_are_not(counts, beta, side):
    made = values(survey(counts, side))
    expected = {} if beta is None else {"class_weights": "effective", "class_weights_beta": beta}
    assert "retrain" in made
    for training in {"scorer", "retrain"} & set(made):
        found = {key: v for key, v in made[training].items() if key.startswith("class_weights")}
        assert found == expected, training
    text = initial_config(survey(counts, side), "photos", PLAN)
    reason = f"classes have {min(counts):,} to {max(counts):,} images"
    assert text.count(reason) == (0 if beta is None else len({"scorer", "retrain"} & set(made)))


def test_what_does_not_fit_into_memory_is_cut_for_the_search_alone():
    # 8 GiB hold 2,796,202 images of 32×32; 20 held out, the rest shared by two classes.
    made = values(survey((2_000_000, 2_000_000)))
    assert made["data"]["images_per_class"] == 1_398_091
    assert "target" not in made


def test_a_name_that_is_no_plain_yaml_and_labels_of_a_flat_val_survive():
    found = survey(root="my: photos #1/ä", val_labels=Path("val.txt"))
    made = values(found)
    assert made["data"]["root"] == "my: photos #1/ä"
    assert made["data"]["val_labels"] == "val.txt"


def test_every_value_says_why_or_speaks_for_itself():
    for line in initial_config(survey(side=300, mode="L"), "photos", PLAN).splitlines():
        name = line.split(":")[0].strip("# ")
        silent = {"kind", "root", "weight_decay", "schedule", "batch_size", "name"}
        assert "#" in line or not line or name in silent, line


def test_the_config_begins_with_how_its_budget_is_divided():
    # 85 % of half an hour; the search gets 35 % of it: 8.92 minutes.
    shares = plan.describe_shares(1800.0)
    assert shares == (
        "Planned for 25.5 min, as 15% are kept in reserve: up to 20% for the scorer, up to 35% for "
        "the search, the rest for retraining"
    )
    text = initial_config(survey(), "photos", PLAN, ("expected: 2 h", shares))
    assert f"\n# expected: 2 h\n# {shares}\n" in text
    assert yaml.safe_load(text) == values(survey())


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "SECONDS", 0.3)
    for module in (budget, plan):
        monkeypatch.setattr(module, "networks", lambda survey: ((4, 3), (8, 3)))
        monkeypatch.setattr(module, "scorers", lambda survey: ("resnet8",))
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 12), ("val", 2)):
        for shade, name in enumerate(("ant", "bee")):
            (tmp_path / "my photos" / split / name).mkdir(parents=True)
            for index in range(count):
                image = Image.new("L", (20 + index, 24), 100 * shade + index)
                image.save(tmp_path / "my photos" / split / name / f"{index}.png")
    return tmp_path / "my photos"


def test_init_writes_a_config_that_a_run_takes_and_says_what_to_type(photos, capsys):
    assert main(["init", "my photos"]) == 0
    shown = capsys.readouterr().out
    assert "2 classes, 24 training images (12 a class), 4 in val/" in shown
    assert "20 to 24 pixels" in shown
    assert "grayscale" in shown
    assert "python run_pipeline.py run my-photos.yaml" in shown
    assert "python run_pipeline.py predict my-photos IMAGE" in shown
    assert "the budget does not include this time" in shown
    assert re.search(r"expected: \S+ (s|min).* if no other program runs", shown)
    assert "guessing among 2 classes is right for 50 % of the images" in shown
    assert load_config(Path("my-photos.yaml")).name == "my-photos"
    assert main(["run", "my-photos.yaml", "--dry-run", "--device", "cpu"]) == 0
    assert "retrain  run" in capsys.readouterr().out
    assert not Path("runs").exists()
    assert not Path("artifacts").exists()


def test_init_takes_class_folders_of_which_one_is_named_train(photos, monkeypatch, capsys):
    monkeypatch.setattr(budget, "_Measure", lambda *_: measured(SPEEDS | {4: 1.0}))
    (photos / "train" / "bee").rename(photos / "train" / "train")
    assert main(["init", "my photos/train", "-o", "classes.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "2 classes, 20 training images (10 a class), 4 held out of them" in shown
    assert "train: the class folders; held out: a part of each class" in shown
    assert load_config(Path("classes.yaml")).data.hold_out == 0.2
    assert main(["run", "classes.yaml", "--dry-run", "--device", "cpu"]) == 0


def test_init_refuses_class_folders_beside_one_named_test(photos, capsys):
    (photos / "train" / "bee").rename(photos / "train" / "test")
    assert main(["init", "my photos/train"]) == 2
    shown = capsys.readouterr().err
    assert "found class folders (ant) beside test/, a class or images without labels" in shown
    assert shown.count("\n") == 1


def test_init_refuses_a_budget_that_is_no_time_or_too_short(photos, capsys):
    for text in ("soon", "0m", "-1h", "30", "1e9d"):
        assert main(["init", "my photos", "--budget", text]) == 2
        refusal = capsys.readouterr().err
        assert "--budget: found" in refusal
        assert refusal.count("\n") == 1
    assert main(["init", "my photos", "--budget", "0.001s"]) == 2
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert "on this device the smallest run takes about" in refusal
    assert not Path("my-photos.yaml").exists()


def measured(seconds_per_epoch, fixed=10.0, held=1, slower=1.0):
    """An estimate by hand: wall-clock seconds of an epoch by scorer, of the search, and by
    channels. `held` cores are held; a complete run with larger networks is `slower`."""

    def measure(plan, seconds, only):
        epochs = {"scorer": plan.scorer_epochs, "search": plan.search_epochs}
        more = slower if only is None and plan.channels > 8 else 1.0
        costs = {
            "scorer": seconds_per_epoch[plan.scorer] * epochs["scorer"],
            "scores": fixed,
            "search": seconds_per_epoch["search"] * epochs["search"],
            "retrain": more * seconds_per_epoch[plan.channels] * plan.retrain_epochs,
        }
        stages = tuple(
            StageEstimate(stage, "run", held * cost / 3600, held * cost / 7200, held * cost / 3600)
            for stage, cost in costs.items()
            if only is None or stage in only
        )
        return RunEstimate(stages, held=held)

    return measure


SPEEDS = {"resnet8": 0.5, "resnet9": 2.0, "search": 2.0, 8: 1.0, 16: 4.0, 24: 20.0, 36: 80.0}


@pytest.mark.parametrize("held", [1, 2])
def test_a_plan_fits_its_budget_and_says_what_more_would_buy(held):
    # The budget is wall-clock time, so two threads of the same speed change nothing.
    found = survey((60,) * 10)
    plan, expected = choose_plan(found, 600.0, measured(SPEEDS, held=held))
    # 510 s are planned. A fifth is 102 s: 60 epochs of resnet9 take 120, of resnet8 30.
    assert (plan.scorer, plan.scorer_epochs) == ("resnet8", 60)
    assert "resnet9 would need a budget of 11.8 min" in plan.why["scorer.model"]
    # 35 % are 178.5 s, hence all 50 epochs; 370 s are left: 40 epochs of 16 channels take 160.
    assert (plan.search_epochs, plan.warmup_epochs) == (50, 15)
    assert (plan.channels, plan.cells, plan.retrain_epochs) == (16, 8, 92)
    # 30 + 10 + 50 · 2 + 92 · 4 seconds.
    assert expected.wall_seconds(expected.high) == pytest.approx(508)
    assert "600, the paper's" in plan.why["retrain.epochs"]
    made = yaml.safe_load(initial_config(found, "photos", plan))
    assert (made["retrain"]["channels"], made["search"]["epochs"]) == (16, 50)


def test_the_budget_named_for_a_larger_network_buys_it_and_a_smaller_one_does_not():
    found = survey((60,) * 10)
    plan, _ = choose_plan(found, 600.0, measured(SPEEDS))
    # 24 channels need 800 s of 40 epochs; 10 s of scores, 120 of resnet9, which then fits, and 100
    # of the search: 1030 s, of 85 % of the budget.
    assert plan.why["retrain.channels"] == "24 with 14 cells would need a budget of 20.2 min"
    for minutes, channels in ((20.1, 16), (20.3, 24)):
        assert choose_plan(found, 60 * minutes, measured(SPEEDS))[0].channels == channels


def test_a_larger_budget_buys_a_larger_scorer_and_network():
    plan, _ = choose_plan(survey((60,) * 10), 36000.0, measured(SPEEDS))
    assert (plan.scorer, plan.channels, plan.cells) == ("resnet9", 36, 20)


def test_the_reasons_are_those_of_the_epochs_that_are_left_after_a_run_was_too_slow():
    # The complete run takes 30 + 10 + 2 · 50 + 8 · 92 = 876 s. By its rates, 510 - 140 = 370 s are
    # left for epochs of 8 s: 46.
    plan, expected = choose_plan(survey((60,) * 10), 600.0, measured(SPEEDS, slower=2.0))
    assert expected.wall_seconds(expected.high) <= 600
    assert (plan.channels, plan.retrain_epochs) == (16, 46)
    # 554 more epochs of 8 seconds.
    why = "as many as fit in the rest of the time; 600, the paper's, would take 1.23 h more"
    assert plan.why["retrain.epochs"] == why


def test_a_run_that_is_expected_to_leave_much_of_the_budget_unused_is_planned_once_more():
    # Other programs made the first timings four times too long: 600 s hold 22 epochs of the search
    # at 8 s (178.5 s) and 27 of retraining at 8 s (510 - 102 - 10 - 176 = 222 s). Really these take
    # 30 + 10 + 44 + 54 = 138 s, less than 70 % of the budget.
    slow = {"resnet8": 1.7, "resnet9": 8.0, "search": 8.0, 8: 8.0, 16: 32.0}
    plans = []

    def measure(plan, seconds, only):
        plans.append(plan)
        first = len(plans) <= 3  # the stages, resnet9, and 16 channels
        return measured(slow if first else SPEEDS | {8: 2.0})(plan, seconds, only)

    plan, expected = choose_plan(survey((60,) * 10), 600.0, measure)
    assert (plans[3].search_epochs, plans[3].channels) == (22, 8)
    assert plan.search_epochs == 50
    # 510 - 30 - 10 - 100 s hold 185 epochs of 2 s.
    assert (plan.channels, plan.retrain_epochs) == (8, 185)
    assert expected.wall_seconds(expected.high) == pytest.approx(510)


def test_where_a_second_plan_is_too_slow_the_first_that_fits_is_kept():
    plans = []

    def measure(plan, seconds, only):
        plans.append(plan)
        slow = len(plans) <= 3 or len(plans) >= 5
        speeds = {"resnet8": 1.7, "resnet9": 8.0, "search": 8.0, 8: 8.0, 16: 32.0}
        return measured(speeds if slow else SPEEDS | {8: 2.0})(plan, seconds, only)

    plan, expected = choose_plan(survey((60,) * 10), 600.0, measure)
    assert len(plans) == 5
    assert (plan.search_epochs, plan.retrain_epochs) == (22, plans[3].retrain_epochs)
    assert expected.wall_seconds(expected.high) <= 600
    # 28 more epochs of 8 s; 35 % of 510 s are 178.5 s.
    why = "as many as fit in 2.98 min; 50, the paper's, would take 3.73 min more"
    assert plan.why["search.epochs"] == why


def test_a_budget_below_the_smallest_run_is_refused():
    # 10 + 5 · 0.5 + 6 · 2 + 5 · 1 seconds.
    with pytest.raises(ConfigError, match=r"smallest run takes about 29\.5 s"):
        choose_plan(survey((60,) * 10), 20.0, measured(SPEEDS))


def test_a_budget_far_below_the_smallest_run_is_refused_after_one_measuring():
    calls = []

    def counted(plan, seconds, only):
        calls.append(only)
        return measured(SPEEDS)(plan, seconds, only)

    # Each stage's lower end is half of it: 14.75 of the 29.5 seconds above.
    with pytest.raises(ConfigError, match=r"found 14\.7 s, .*smallest run takes about 29\.5 s"):
        choose_plan(survey((60,) * 10), 14.7, counted)
    assert calls == [None]


def test_the_smallest_run_is_tried_before_a_budget_is_refused():
    # Larger networks take a hundred times what their steps promise; the smallest does not.
    plan, expected = choose_plan(survey((60,) * 10), 400.0, measured(SPEEDS, slower=100.0))
    assert plan.channels == 8
    assert expected.wall_seconds(expected.high) <= 400


def test_init_replaces_a_file_only_where_it_is_told_to(photos, capsys):
    Path("mine.yaml").write_text("name: mine\n")
    assert main(["init", "my photos", "-o", "mine.yaml"]) == 2
    assert "-o: found mine.yaml, an existing file" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "name: mine\n"
    assert main(["init", "my photos", "-o", "mine.yaml", "--overwrite"]) == 0
    assert "my photos" in Path("mine.yaml").read_text()


def test_links_out_of_the_folder_are_followed_where_that_is_asked_for(photos, capsys):
    classes = photos.parent / "classes"
    (photos / "train").rename(classes)
    (photos / "train").mkdir()
    for name in ("ant", "bee"):
        (photos / "train" / name).symlink_to(classes / name)
    assert main(["init", "my photos"]) == 2
    assert "links that stay inside" in capsys.readouterr().err
    assert main(["init", "my photos", "--follow-links"]) == 0
    assert load_config(Path("my-photos.yaml")).data.follow_links


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere"], "no folder nowhere"),
        (["my photos/train/ant"], "images without class folders"),
        (["my photos/train/ant/0.png"], "no folder my photos"),
        (["my photos", "-o", "my photos"], "-o: found my photos, a folder"),
        (["my photos", "-o", "nowhere/x.yaml"], "nowhere: cannot be written"),
        (["my photos", "-o", "/proc/x.yaml"], "/proc: cannot be written"),
    ],
)
def test_init_refuses_in_one_line_and_writes_nothing(photos, capsys, arguments, expected):
    assert main(["init", *arguments]) == 2
    shown = capsys.readouterr()
    assert expected in shown.err
    assert shown.err.count("\n") == 1
    assert "measuring" not in shown.out
    assert [path.name for path in photos.parent.iterdir()] == ["my photos"]

"""Tables of made-up results, so that every figure can be worked out by hand."""

import pytest

from classification.config import ClassifierConfig
from classification.errors import ConfigError
from classification.settings import effective_settings
from pipeline.comparisons.classifiers import classification_table

MIXED = {"kind": "dcutmix", "num_images": 5, "alpha": 0.2}


def result(name, last=20.0, best=19.0, seconds=2.0, ratio=None, mixing=MIXED, **changes):
    """What results.json holds of a run; `changes` go to the scorer's config, or are known here."""
    content, published_as = changes.pop("content", "hash"), changes.pop("published_as", "cifar100")
    seed, device = changes.pop("seed", 0), changes.pop("device", "a device")
    evaluated = changes.pop("evaluated", "test")
    augmentation = changes.pop("augmentation", {"crop_padding": None, "flip": True})
    scorer = ClassifierConfig.model_validate({"mixing": mixing} | changes)
    return {
        "name": name,
        "seed": seed,
        "device": device,
        "data": {
            "content_hash": content,
            "line": f"images called {content}",
            "augmentation": augmentation,
            "published_as": published_as,
        },
        "scorer": effective_settings(scorer),
        "classes": {"evaluated": evaluated},
        "accuracy": {"top1_error_last": last, "top1_error_best": best},
        "training_time": {"seconds_per_epoch": seconds, "relative_to_vanilla": ratio},
    }


def vanilla(name="vanilla", **changes):
    return result(name, **({"mixing": {"kind": "none"}, "ratio": 1.0} | changes))


def cells(*runs):
    """The table as a list of mappings from its columns' titles."""
    lines = [line for line in classification_table(runs).splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    titles, rule, *rows = split
    assert len(rule) == len(titles)
    return [dict(zip(titles, row, strict=True)) for row in rows]


def refusal(*runs):
    with pytest.raises(ConfigError) as error:
        classification_table(runs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_seeds_of_a_setting_are_one_row_with_mean_and_sample_deviation():
    runs = [result(str(seed), 16 + seed, 15.5 + seed, seed=seed) for seed in (0, 1, 2)]
    (row,) = cells(*runs)
    assert row["n"] == "3"
    assert row["top-1 error, last epoch (%)"] == "17.00 ± 1.00"
    assert row["best epoch (%)"] == "16.50 ± 1.00"


def test_one_seed_has_no_deviation():
    (row,) = cells(result("one"))
    assert (row["n"], row["top-1 error, last epoch (%)"]) == ("1", "20.00")


def test_a_row_a_setting_in_the_order_of_the_runs():
    rows = cells(
        vanilla(),
        result("small", model="resnet8"),
        vanilla("smooth", label_smoothing=0.1),
        vanilla("again", seed=1),
    )
    assert [(row["model"], row["mixing and regularisers"], row["n"]) for row in rows] == [
        ("pyramidnet110", "no mixing", "2"),
        ("resnet8", "DCutMix, K = 5, α = 0.2", "1"),
        ("pyramidnet110", "no mixing, label smoothing 0.1", "1"),
    ]


def test_published_values_stand_beside_what_they_belong_to():
    rows = cells(vanilla(), result("mixed"), result("unpublished", model="resnet8"))
    assert [row["published top-1 (%)"] for row in rows] == ["19.85", "16.95", "–"]
    assert "published training time" not in rows[0]
    (row,) = cells(result("timed", model="wrn16_8"))
    assert (row["published top-1 (%)"], row["published training time"]) == ("18.64", "1.01")


def test_a_table_without_published_values_has_no_column_and_no_note_of_them():
    text = classification_table([vanilla(published_as=None)])
    assert "ublished" not in text
    assert "Published: the paper's figures" in classification_table([vanilla()])


def test_the_time_is_over_that_of_the_vanilla_row():
    rows = cells(
        vanilla(seconds=2.0),
        vanilla("seed 1", seed=1, seconds=4.0),
        result("mixed", seconds=6.0, ratio=9.0),
        vanilla("dropped", drop_block=0.1, drop_block_size=5, seconds=4.5),
    )
    assert [row["training time"] for row in rows] == ["1.00", "2.00", "1.50"]


@pytest.mark.parametrize(
    "other",
    [
        {"device": "another"},
        {"model": "resnet8"},
        {"learning_rate": 0.1},
        {"augmentation": {"crop_padding": 2, "flip": True}},
        {"seconds": None},
    ],
)
def test_without_a_vanilla_row_of_the_same_settings_and_device_the_reports_ratios_count(other):
    mixed = [result(str(seed), seed=seed, ratio=1.0 + seed) for seed in (0, 1)]
    assert cells(*mixed, vanilla(**other))[0]["training time"] == "1.50"
    unknown = result("2", seed=2)
    assert cells(*mixed, unknown, vanilla(**other))[0]["training time"] == "–"


def test_settings_that_differ_beside_the_mixer_make_rows_that_say_so():
    rows = cells(
        result("yun"),
        result("authors", weight_decay=4e-5, milestones=(0.75, 0.9), precision="bf16"),
    )
    assert [row["other settings"] for row in rows] == [
        "weight_decay 0.0001, milestones [0.5, 0.75], precision fp32",
        "weight_decay 4e-05, milestones [0.75, 0.9], precision bf16",
    ]
    assert "other settings" not in cells(result("yun"))[0]
    rows = cells(result("shuffled"), result("equal", sampler="balanced"))
    assert [row["other settings"] for row in rows] == ["sampler uniform", "sampler balanced"]


def test_runs_of_different_data_are_refused():
    message = refusal(result("a"), result("b", content="others"))
    assert message.startswith("RUN: a and b have different data (images called hash; images called")


def test_runs_of_different_budgets_are_refused():
    assert "RUN: a has 300 epochs and b 3; allowed" in refusal(result("a"), result("b", epochs=3))


def test_a_seed_that_comes_twice_is_refused():
    message = refusal(vanilla(), result("a", seed=7), result("b", seed=7))
    assert "RUN: a and b are the same training (equal settings and seed 7)" in message


def test_the_best_epoch_is_labelled():
    text = classification_table([vanilla()])
    assert "lowest test error: optimistic, not used for selection" in text
    assert "lowest val error: optim" in classification_table([vanilla(evaluated="val")])
    mixed = [vanilla(evaluated="val"), result("a")]
    assert "lowest evaluated error: optim" in classification_table(mixed)
    assert text.startswith("images called hash; 300 epochs.\n\n| model |")

"""What the figures of attacks show of made-up results."""

import pytest

from evaluate.figures.robustness import compared_curves
from evaluate.figures.style import save_figure
from evaluate.robustness.measure import named_attacks

EPSILONS = (2 / 255, 8 / 255)


def attack(kind, name, counts, architecture="resnet8"):
    curve = [
        {"epsilon": epsilon, "accuracy": count / 100, "correct": count, "images": 100}
        for epsilon, count in zip(EPSILONS, counts, strict=True)
    ]
    return {"kind": kind, "architecture": architecture, "attack": name, "curve": curve}


def result(clean, *attacks):
    return {
        "images": 100,
        "clean": {"accuracy": clean / 100, "correct": clean, "images": 100},
        "attacks": list(attacks),
        "shift": {},
    }


WHITE = ("white-box", "fgsm", (50, 30)), ("white-box", "pgd", (40, 20))
BOTH = result(80, *(attack(*each) for each in WHITE))
LOWER = result(70, attack("white-box", "fgsm", (40, 10)), attack("white-box", "pgd", (30, 0)))
GRAY = result(80, *(attack(*each) for each in WHITE), attack("gray-box", "pgd", (60, 50)))


def drawn(axes):
    """Each classifier's heights and the lengths of its bars, up and down alike for seeds."""
    found = {}
    for container in axes.containers:
        heights = container.lines[0].get_ydata()
        ends = [segment[:, 1] for segment in container.lines[2][0].get_segments()]
        found[container.get_label()] = list(heights), [tuple(each) for each in ends]
    return found


def test_attacks_are_told_apart_by_their_source_and_numbered_where_it_is_the_same():
    twice = result(
        80,
        attack("gray-box", "pgd", (60, 50)),
        attack("gray-box", "pgd", (61, 51)),
        attack("black-box", "pgd", (70, 60), "resnet20"),
    )
    names = [source for source, _ in named_attacks(twice)]
    assert names == [
        "gray-box from resnet8",
        "gray-box from resnet8 (2)",
        "black-box from resnet20",
    ]
    assert named_attacks(twice)[names[1], "pgd"]["curve"][0]["correct"] == 61


def test_seeds_are_a_mean_with_a_sample_deviation_and_one_seed_has_its_interval():
    """Of 80 and 70 the mean is 75, the sample deviation √50; 80 of 100 is 71.1 to 86.7 (Wilson)."""
    figure = compared_curves({"two": [BOTH, LOWER], "one": [BOTH]})
    fgsm, pgd = figure.axes
    assert [axes.get_title(loc="left") for axes in (fgsm, pgd)] == [
        "FGSM, white-box",
        "PGD, white-box",
    ]
    heights, ends = drawn(fgsm)["two (n = 2)"]
    assert heights == pytest.approx([75, 45, 20])
    assert ends[0] == pytest.approx((75 - 50**0.5, 75 + 50**0.5))
    heights, ends = drawn(pgd)["one (n = 1)"]
    assert heights == pytest.approx([80, 40, 20])
    assert ends[0] == pytest.approx((71.1, 86.7), abs=0.05)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "two (n = 2)",
        "one (n = 1)",
    ]


def test_an_attack_that_one_classifier_alone_met_has_a_panel_of_it_alone(tmp_path):
    figure = compared_curves({"plain": [BOTH], "attacked": [GRAY]})
    titles = {axes.get_title(loc="left").replace("\n", " "): axes for axes in figure.axes}
    assert list(titles) == ["FGSM, white-box", "PGD, white-box", "PGD, gray-box from resnet8"]
    assert list(drawn(titles["PGD, gray-box from resnet8"])) == ["attacked (n = 1)"]
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == [False, True, True]
    save_figure(figure, tmp_path / "curves.png")

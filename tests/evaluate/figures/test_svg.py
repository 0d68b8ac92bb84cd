"""Figures as part of a page: what is in their SVG, and what is not."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluate.figures.cost import break_even_lines, cost_bars
from evaluate.figures.robustness import robustness_curves
from evaluate.figures.study import StudyPoint, two_cost_axes
from evaluate.figures.subset import cv_histogram
from evaluate.figures.svg import SMALLEST_TEXT, describe_lines, inline_svg
from evaluate.figures.training import edge_trajectories, learning_curves, operation_trajectories
from pcdarts.drawing import draw_genotype
from pcdarts.operations import OPERATIONS
from pcdarts.published_genotypes import GENOTYPES

ARCHITECTURE = {
    "alphas": {cell: np.zeros((14, 8)).tolist() for cell in ("normal", "reduce")},
    "betas": {cell: [0.0] * 14 for cell in ("normal", "reduce")},
}
ROWS = [
    {"epoch": 1, "loss": 2.0, "accuracy": 0.25, "warmup": True} | ARCHITECTURE,
    {"epoch": 2, "loss": 1.0, "accuracy": 0.5, "warmup": False} | ARCHITECTURE,
]
POINTS = [StudyPoint(series, 1.0 + n, 50.0, n, str(n)) for n, series in enumerate("ab")]
ATTACKED = {
    "images": 10,
    "clean": {"accuracy": 0.5, "correct": 5, "images": 10},
    "attacks": [
        {
            "kind": "white-box",
            "architecture": "resnet8",
            "attack": "fgsm",
            "curve": [{"epsilon": 0.01, "accuracy": 0.1, "correct": 1, "images": 10}],
        }
    ],
}
FIGURES = {
    "curves": lambda: learning_curves(ROWS, "Scorer"),
    "operations": lambda: operation_trajectories(ROWS, OPERATIONS),
    "edges": lambda: edge_trajectories(ROWS),
    "cells": lambda: draw_genotype(GENOTYPES["darts_v2"]),
    "bars": lambda: cost_bars({"scorer": 1.0, "search": 2.0}, "GPU-hours", {"full": 3.0}),
    "break-even": lambda: break_even_lines(1.0, 1.0, 2.0, 1, "GPU-hours"),
    "cv": lambda: cv_histogram(np.linspace(0.1, 0.9, 40), np.arange(40) >= 30, (0.5, 0.6)),
    "costs": lambda: two_cost_axes(POINTS, POINTS, "GPU-hours", "accuracy", joined=False),
    "attacks": lambda: robustness_curves(ATTACKED),
}


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_a_report_has_no_colour_of_its_own(name: str) -> None:
    svg = inline_svg(FIGURES[name](), name, "Title", "Description")
    assert re.findall(r"#[0-9a-f]{6}", svg) == []
    assert "var(--panel)" in svg


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_figure_gives_the_same_text_and_refers_to_itself_alone(name: str) -> None:
    svg = inline_svg(FIGURES[name](), name, "Title", "Description")
    assert svg == inline_svg(FIGURES[name](), name, "Title", "Description")
    root = parsed(svg)
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(each.startswith(f"{name}-") for each in ids)
    targets = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)
    assert {a or b for a, b in targets} <= set(ids)
    assert {element.tag for element in root.iter()} <= {
        *("svg", "title", "desc", "defs", "g", "path", "use", "text", "tspan", "clipPath", "rect"),
    }
    assert svg.count("url(") == svg.count("url(#")
    assert "http" not in svg


def test_text_is_text_in_the_font_of_the_page_and_says_what_the_figure_says() -> None:
    root = parsed(inline_svg(FIGURES["curves"](), "a", "Title & <b>", "What it shows"))
    assert [child.tag for child in root[:2]] == ["title", "desc"]
    assert (root[0].text, root[1].text) == ("Title & <b>", "What it shows")
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"].split() == [each.attrib["id"] for each in root[:2]]
    texts = [element.text for element in root.iter("text")]
    assert {"Scorer", "epoch", "loss (nats)", "train"} <= set(texts)
    assert "font-family" not in ElementTree.tostring(root, "unicode")


@pytest.mark.filterwarnings("ignore:Glyph 1 ")
@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)", '"><img src=x>', "a\x01b", "#0072b2 url(#x)"]
)
def test_a_title_of_any_name_stays_text(hostile: str) -> None:
    root = parsed(inline_svg(learning_curves(ROWS, hostile), "a", "Title", "Description"))
    assert hostile.replace("\x01", "") in [element.text for element in root.iter("text")]
    assert not list(root.iter("script"))
    assert not list(root.iter("img"))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_not_shrunk_until_its_text_is_too_small(name: str) -> None:
    svg = inline_svg(FIGURES[name](), name, "Title", "Description")
    root = parsed(svg)
    _, _, width, _ = map(float, root.attrib["viewBox"].split())
    least, most = map(int, re.findall(r"(\d+)px", root.attrib["style"]))
    smallest = min(map(float, re.findall(r"font-size: ([\d.]+)px", svg)))
    assert least / width * smallest >= SMALLEST_TEXT
    assert least <= most


def test_lines_are_described_by_their_ends() -> None:
    assert describe_lines(learning_curves(ROWS, "Scorer")) == (
        "loss (nats): train from 2 to 1. top-1 accuracy (%): train from 25 to 50."
    )
    assert describe_lines(Figure()) == ""

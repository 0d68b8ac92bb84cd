"""Every figure, printed 80 mm wide, has legible text, none of it cut or covered."""

import importlib
import inspect
import pkgutil
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import evaluate.figures
from classification.mixing import DCutMix
from evaluate.calibration import Bin
from evaluate.fidelity import RankCorrelation
from evaluate.figures.calibration import reliability_diagram
from evaluate.figures.confusion import confusion_matrix
from evaluate.figures.contest import Candidate, contest_front
from evaluate.figures.cost import break_even_lines, cost_bars
from evaluate.figures.fronts import cost_front
from evaluate.figures.landscape import loss_contour, loss_line, loss_surface, noise_curve
from evaluate.figures.mixing import MixedBatch, mixing_sheet
from evaluate.figures.robustness import compared_curves, robustness_curves
from evaluate.figures.stages import stage_graph
from evaluate.figures.study import StudyPoint, curves, two_cost_axes
from evaluate.figures.style import COLUMN, LEAST_PRINTED
from evaluate.figures.subset import cv_histogram, fidelity_scatter, subset_gallery
from evaluate.figures.training import edge_trajectories, learning_curves, operation_trajectories
from evaluate.figures.visibility import visibility_map
from pcdarts import drawing
from pcdarts.drawing import draw_genotype
from pcdarts.operations import OPERATIONS
from pcdarts.published_genotypes import GENOTYPES

NAMES = ("aquarium_fish", "beaver", "chimpanzee", "pickup_truck", "sweet_pepper", "wolf")
EPOCHS = [
    {
        "epoch": epoch,
        "loss": 4 / epoch,
        "test_loss": 5 / epoch,
        "architecture_loss": 4.5 / epoch,
        "accuracy": epoch / 60,
        "test_accuracy": epoch / 70,
        "warmup": epoch < 15,
        "alphas": {
            cell: (epoch * np.eye(14, 8) / 50).tolist() for cell in ("normal", "reduce")
        },
        "betas": {cell: (epoch * np.arange(14) / 200).tolist() for cell in ("normal", "reduce")},
    }
    for epoch in range(1, 51)
]  # fmt: skip
LOSSES = [5.5, 1.25, 0.031, 1.5, 5.25]
LANDSCAPE = {
    "images": 10_000,
    "split": "validation",
    "batch_norm": "training mode, statistics of each batch",
    "trained": {"loss": 0.9, "accuracy": 0.8},
    "line": {"alphas": [-1, -0.5, 0, 0.5, 1], "losses": LOSSES, "accuracies": [0.1, 1, 1, 0.9, 0]},
    "noise": {
        "scale": "filter", "draws": 10, "sigmas": [0.05, 0.1, 0.15], "loss_means": [1.1, 2.2, 40],
        "loss_deviations": [0.1, 0.2, 2], "accuracy_means": [0.7, 0.5, 0.25],
        "accuracy_deviations": [0.1] * 3,
    },
    "hessian": {"eigenvalues": [1234.5, 678.9]},
    "plane": {
        "alphas": [-1, -0.5, 0, 0.5, 1], "betas": [-1, -0.5, 0, 0.5, 1],
        "losses": [[loss * (1 + column) for column in range(5)] for loss in LOSSES],
    },
}  # fmt: skip
MODELS = {"ResNet-18 + Cutout": LANDSCAPE, "ResNet-18 + saliency-DCutMix (K = 5)": LANDSCAPE}


def attacked(shift: float) -> dict[str, object]:
    curve = [
        {"epsilon": eps / 255, "accuracy": 0.7 / eps + shift, "correct": 60, "images": 100}
        for eps in (1, 2, 4, 8)
    ]
    kinds = (("white-box", "resnet18"), ("gray-box", "resnet18"), ("black-box", "wide_resnet28_10"))
    return {
        "images": 10_000,
        "clean": {"accuracy": 0.9, "correct": 90, "images": 100},
        "attacks": [
            {"kind": kind, "architecture": source, "attack": attack, "curve": curve}
            for kind, source in kinds
            for attack in ("fgsm", "pgd")
        ],
    }


def points(series: int, settings: int, factor: float = 1.0) -> list[StudyPoint]:
    return [
        StudyPoint(name, factor * t, 60 - 4 * n - 100 * t + seed, seed, f"t = {t:g}")
        for n, name in enumerate(
            f"highest coefficient of variation, M = {m}" for m in range(series)
        )
        for t in np.geomspace(0.01, 0.4, settings).round(3).tolist()
        for seed in range(2)
    ]


def mixes() -> MixedBatch:
    images, generator = torch.rand(8, 3, 16, 16), torch.Generator().manual_seed(0)
    mix = DCutMix(3, 1.0, num_classes=6).mix(images, torch.arange(8) % 6, generator)
    first, second = ((255 * each).byte().numpy() for each in (images, mix.images))
    return MixedBatch(
        "DCutMix of 3 images, whose boxes' areas are Dirichlet(1)", first, second, mix
    )


def stages() -> "nx.DiGraph[str]":
    names = ("data", "scorer", "scores", "subset", "search", "contest", "retrain", "robustness")
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from(pairwise(names))
    graph.add_edges_from((names[0], name) for name in names[2:])
    graph.add_edges_from((name, names[-1]) for name in names[1:-2])
    return graph


def confused(classes: int) -> Figure:
    names = [f"{NAMES[n % 6]} {n}" for n in range(classes)]
    counts = 3 + 97 * np.eye(classes, dtype=np.int64)
    return confusion_matrix(counts, names, "the network found, 10,000 images")


COSTS = {"scorer": 0.5, "scores": 0.25, "subset": 0.001, "search": 3.0, "retraining": 20.0}
CANDIDATES = [
    Candidate(name, name.split()[0], 40 - n, 10**7 * (n + 2), 2 + n / 3)
    for n, name in enumerate(["found", *(f"random {n}" for n in range(11))])
]
IMAGES = np.zeros((60, 3, 8, 8), np.uint8)
RANKS = RankCorrelation(0.75, 0.5, 1.0, 30)
STATES = {"data": "reused", "search": "interrupted at epoch 12 of 50"}

FIGURES = {
    reliability_diagram: lambda: reliability_diagram(
        [Bin(n / 15, (n + 1) / 15, 100 * n, (n + 0.5) / 15, n / 15) for n in range(15)], 0.123
    ),
    confusion_matrix: lambda: confused(10),
    contest_front: lambda: contest_front(CANDIDATES, [0, 5], "AMD EPYC 9B14, 1 core, float32"),
    cost_front: lambda: cost_front(
        [StudyPoint(f"way {n} of choosing", 2**n, 60 - 3 * (n % 5), 0) for n in range(12)],
        "CPU-minutes: scorer + scores + subset + one training", "top-1 error (%)",
        marked={"way 0 of choosing", "way 9 of choosing"}, title="100 classes × 500 images",
    ),
    cost_bars: lambda: cost_bars(COSTS, "CPU-hours", {"search on all images, extrapolated": 30.0}),
    break_even_lines: lambda: break_even_lines(10.0, 1.0, 4.0, 4, "GPU-hours"),
    loss_line: lambda: loss_line(MODELS),
    noise_curve: lambda: noise_curve(MODELS),
    loss_contour: lambda: loss_contour(LANDSCAPE),
    loss_surface: lambda: loss_surface(MODELS),
    mixing_sheet: lambda: mixing_sheet([mixes(), mixes()], NAMES, 4, ("seen: 61 %", np.eye(16))),
    robustness_curves: lambda: robustness_curves(attacked(0)),
    compared_curves: lambda: compared_curves({"Cutout": [attacked(0)], "DCutMix": [attacked(0.1)]}),
    stage_graph: lambda: stage_graph(stages(), STATES),
    curves: lambda: curves(
        points(9, 5), "fraction of the training images, t", "top-1 error (%)", log_x=True,
        x_ticks=[0.01, 0.025, 0.06, 0.16, 0.4], title="9 measures on 100 classes × 500 images",
    ),
    two_cost_axes: lambda: two_cost_axes(
        points(4, 3), points(4, 3, 20), "CPU-hours", "top-1 error (%)"
    ),
    subset_gallery: lambda: subset_gallery(
        IMAGES, np.arange(60) % 5, NAMES, np.linspace(0.5, 1.25, 60)
    ),
    cv_histogram: lambda: cv_histogram(
        np.linspace(0.1, 1.9, 4000), np.arange(4000) >= 3000, (0.5, 0.62)
    ),
    fidelity_scatter: lambda: fidelity_scatter(
        [10.5, 11, 12.5], {"highest CV": [20, 22, 25.5], "random": [24, 30, 31]},
        {"highest CV": RANKS, "random": RankCorrelation(None, None, None, 3)},
    ),
    learning_curves: lambda: learning_curves(EPOCHS, "Search on a subset of 20 %", 0.4),
    operation_trajectories: lambda: operation_trajectories(EPOCHS, OPERATIONS),
    edge_trajectories: lambda: edge_trajectories(EPOCHS),
    visibility_map: lambda: visibility_map(np.eye(32)),
    draw_genotype: lambda: draw_genotype(GENOTYPES["pcdarts_cifar10"]),
}  # fmt: skip
VARIANTS = {
    "losses cut off": lambda: learning_curves(
        [*EPOCHS[:20], EPOCHS[20] | {"test_loss": 123.4}, *EPOCHS[21:]], "Retraining", 0.4, "val"
    ),
    "20 named classes": lambda: confused(20),
    "100 classes": lambda: confused(100),
    "DARTS": lambda: draw_genotype(GENOTYPES["darts_v1"]),
    "one surface": lambda: loss_surface({"ResNet-18": LANDSCAPE}),
    "runs": lambda: two_cost_axes(
        points(4, 1), points(4, 1, 3), "CPU-hours", "accuracy", joined=False
    ),
}  # fmt: skip


def drawn_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Return what is drawn: an axis has labels of more ticks than it shows."""
    found: dict[int, Text] = {}
    draw = Text.draw

    def record(text: Text, renderer: object) -> None:
        if text.get_visible() and text.get_text().strip():
            found[id(text)] = text
        draw(text, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        FigureCanvasAgg(figure).draw()
    return list(found.values())


@pytest.mark.parametrize("name", [*(each.__name__ for each in FIGURES), *VARIANTS])
def test_printed_in_a_column_text_is_legible_and_none_is_cut_or_covered(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = ({each.__name__: build for each, build in FIGURES.items()} | VARIANTS)[name]()
    texts = drawn_texts(figure, monkeypatch)
    scale = COLUMN / figure.get_figwidth()
    assert texts
    assert {t.get_text(): t.get_size() for t in texts if t.get_size() * scale < LEAST_PRINTED} == {}
    boxes = {text: text.get_window_extent() for text in texts}
    whole = figure.bbox.padded(0.5)
    cut = [
        text.get_text()
        for text, box in boxes.items()
        if not (whole.contains(box.x0, box.y0) and whole.contains(box.x1, box.y1))
    ]
    assert cut == []
    covered = [
        (one.get_text(), other.get_text())
        for one, other in combinations(texts, 2)
        if boxes[one].padded(-0.5).overlaps(boxes[other].padded(-0.5))
    ]
    assert covered == []


def test_every_function_that_draws_a_figure_is_tried() -> None:
    modules = [
        importlib.import_module(f"evaluate.figures.{each.name}")
        for each in pkgutil.iter_modules(evaluate.figures.__path__)
    ]
    drawing_functions = {
        name
        for module in [*modules, drawing]
        for name, each in inspect.getmembers(module, inspect.isfunction)
        if each.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.signature(each).return_annotation in (Figure, "Figure")
    }
    assert drawing_functions == {each.__name__ for each in FIGURES}

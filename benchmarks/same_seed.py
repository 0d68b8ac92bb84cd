"""What the same seed is worth: one run under several versions of torch and numbers of threads.

    python -m benchmarks.same_seed --folder IMAGES --python OTHER/bin/python [--json FILE]

IMAGES holds train/<class>/* and test/<class>/* of CIFAR-100. For each seed, the scorer, the scores,
the subset, the search and the retraining run with this interpreter and each other one, on one and
two threads; then the search alone on a random half, the same images in all. Prints what agrees with
this interpreter on one thread, and errors.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import CONFIGS, options, write_record
from pcdarts.genotype import Genotype
from pipeline.reports.page import markdown_table

_SLICE = "{{kind: folder, root: {}, classes: 10, images_per_class: 50, image_size: 16}}"
_OPTIONS = (
    "scorer.epochs=15",
    "subset.fraction=0.5",
    "search.epochs=15",
    "search.warmup_epochs=5",
    "search.channels=8",
    "search.cells=4",
    "search.batch_size=32",
    "retrain.epochs=10",
    "retrain.channels=8",
    "retrain.cells=4",
)
_RANDOM = ("subset.measure=random",)


def run(
    python: str, threads: int, seed: int, images: Path, folder: Path, until: str, *more: str
) -> dict[str, Any]:
    """Run up to the stage `until` in `folder`; return the metrics of the stages, the subset and the
    genotype."""
    words = [python, str(CONFIGS.parent / "run_pipeline.py"), "run", "--quiet"]
    words += [str(CONFIGS / "cifar100-small.yaml"), "--until", until, "--device", "cpu"]
    words += ["--artifacts", str(folder / "artifacts"), "--runs", str(folder / "runs")]
    sliced = _SLICE.format(images.resolve())
    for option in (f"seed={seed}", f"data={sliced}", f"target={sliced}", *_OPTIONS, *more):
        words += ["--set", option]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = {}
    for stage in ("scorer", "search", "retrain"):
        for path in folder.glob(f"artifacts/{stage}/*/metrics.jsonl"):
            found[stage] = [json.loads(line) for line in path.read_text().splitlines()]
    (subset,) = folder.glob("artifacts/subset/*/subset.json")
    found["subset"] = json.loads(subset.read_text())["indices"]
    (genotype,) = folder.glob("artifacts/search/*/genotype.json")
    found["genotype"] = Genotype.load(genotype).to_dict()
    return found


def parting(first: list[dict[str, Any]], second: list[dict[str, Any]], key: str) -> str:
    """Return the first epoch in which `key` differs, or "never"."""
    pairs = zip(first, second, strict=True)
    return next((str(a["epoch"]) for a, b in pairs if a[key] != b[key]), "never")


def same_edges(first: dict[str, Any], second: dict[str, Any]) -> int:
    """Return how many edges (operation and input of a node) two genotypes share, of 16."""
    return sum(
        len(set(map(str, one)) & set(map(str, two)))
        for cell in ("normal", "reduce")
        for one, two in zip(_nodes(first, cell), _nodes(second, cell), strict=True)
    )


def compared(base: dict[str, Any], other: dict[str, Any]) -> dict[str, str]:
    """Return what two runs share."""
    both = set(base["subset"]) & set(other["subset"])
    row = {
        "images in both subsets": f"{len(both)} of {len(base['subset'])}",
        "search's loss parts in epoch": parting(base["search"], other["search"], "loss"),
        "genotype parts in epoch": parting(base["search"], other["search"], "genotype"),
        "largest difference of α": f"{_alpha_difference(base, other):.1e}",
        "same edges of 16": str(same_edges(base["genotype"], other["genotype"])),
    }
    if "retrain" in other:
        scorer = parting(base["scorer"], other["scorer"], "loss")
        row = {"scorer's loss parts in epoch": scorer} | row
        row["top-1 error, %"] = f"{error(other):.1f}"
    return row


def error(found: dict[str, Any]) -> float:
    """Return the top-1 error of the last epoch of the retraining, percent."""
    return 100 * (1 - found["retrain"][-1]["test_accuracy"])


def main() -> None:
    """Run everything; print two tables and the errors' spread."""
    parser = options(__doc__, folder=Path(), seeds=3)
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    given = parser.parse_args()
    settings = [(python, n) for python in [sys.executable, *given.python] for n in (1, 2)]
    names = {
        setting: f"torch {_version(setting[0])}, {setting[1]} thread" + "s" * (setting[1] > 1)
        for setting in settings
    }
    runs: dict[str, dict[tuple[str, int], dict[str, Any]]] = {"pipeline": {}, "search": {}}
    for seed in range(given.seeds):
        for setting in settings:
            key = names[setting], seed
            for kind, until, more in (("pipeline", "retrain", ()), ("search", "search", _RANDOM)):
                with tempfile.TemporaryDirectory() as name:
                    runs[kind][key] = run(*setting, seed, given.folder, Path(name), until, *more)
            print(*key, f"{error(runs['pipeline'][key]):.1f} %", file=sys.stderr, flush=True)
    base = names[settings[0]]
    tables = {}
    for kind, found in runs.items():
        rows = [
            {"seed": str(seed), "run": name} | compared(found[base, seed], one)
            for (name, seed), one in found.items()
        ]
        tables[kind] = rows
        print(f"{kind}\n\n{markdown_table({head: [r[head] for r in rows] for head in rows[0]})}\n")
    whole = {key: error(one) for key, one in runs["pipeline"].items()}
    for name in names.values():
        values = [whole[name, seed] for seed in range(given.seeds)]
        print(f"{name}: {statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} %")
    record = {
        kind: {f"{n}, seed {s}": one for (n, s), one in f.items()} for kind, f in runs.items()
    }
    write_record(given.json, torch.device("cpu"), given, tables=tables, runs=record)


def _alpha_difference(base: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference of any α after the last epoch."""
    cells = [found["search"][-1]["alphas"] for found in (base, other)]
    one, two = (torch.tensor([alphas["normal"], alphas["reduce"]]) for alphas in cells)
    return (one - two).abs().max().item()


def _nodes(genotype: dict[str, Any], cell: str) -> list[Any]:
    """Return the edges of each node of a cell."""
    return list(genotype[cell])


def _version(python: str) -> str:
    program = "import importlib.metadata as m; print(m.version('torch'))"
    done = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()

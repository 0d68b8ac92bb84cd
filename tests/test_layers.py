"""Imports point down: a layer knows those below it, none above, none beside."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVEL = {
    "classification": 0,
    "subsample": 1,
    "pcdarts": 1,
    "evaluate": 2,
    "pipeline": 3,
    "run_pipeline": 4,
}
# The rooms of pipeline/, and its files.
FLOORS = (
    {"live_lines"},
    {"console", "device", "documents", "signals", "store", "validation"},
    {"config", "start_up"},
    {"failure", "graph", "launch", "run_folder", "tracking"},
    {"sharing"},
    {"runner", "stages"},
    {"changes", "inputs", "maintenance", "reports"},
    {"comparisons", "estimates", "exports", "studies"},
    {"initial", "predictions"},
    {"opened_run"},
    {"commands"},
    {"reference"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = [p for name in LEVEL for p in [*(ROOT / name).rglob("*.py"), ROOT / f"{name}.py"]]
MODULES = list(filter(Path.exists, MODULES))
MAX_LINES = 320
GENERATED = {"error_rates.py"}  # tables of published figures


def imported(path):
    """The modules that a file imports, in full, `from package import module` included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module):
    """The room of pipeline/ that a module lies in; None outside of pipeline."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if package == "pipeline" else None


@pytest.mark.parametrize("package", LEVEL)
def test_a_layer_imports_only_those_below(package):
    for path in MODULES:
        if path.relative_to(ROOT).parts[0].removesuffix(".py") == package:
            climbs = {
                name
                for name in {module.split(".")[0] for module in imported(path)}
                if name in LEVEL and name != package and LEVEL[name] >= LEVEL[package]
            }
            assert not climbs, f"{path}: imports {climbs}"


def test_a_room_of_the_pipeline_imports_only_itself_and_those_below():
    found = {room(".".join(p.relative_to(ROOT).with_suffix("").parts)): p for p in MODULES}
    assert set(FLOOR) == set(found) - {None, "__init__"}
    for path in MODULES:
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if own in FLOOR:
            needed = {room(module) for module in imported(path)} & set(FLOOR) - {own}
            climbs = {each for each in needed if FLOOR[each] >= FLOOR[own]}
            assert not climbs, f"{path}: imports {climbs}"


def test_nothing_imports_the_benchmarks_or_the_tests_and_benchmarks_no_tests():
    for path in MODULES:
        assert not {"benchmarks", "tests"} & {m.split(".")[0] for m in imported(path)}, path
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert "tests" not in {m.split(".")[0] for m in imported(path)}, path


def test_no_source_file_outgrows_its_noun():
    sources = [
        p for p in [*MODULES, *(ROOT / "benchmarks").glob("*.py")] if p.name not in GENERATED
    ]
    long = {p.name: n for p in sources if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert not long

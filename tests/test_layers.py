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
MODULES = [p for name in LEVEL for p in [*(ROOT / name).rglob("*.py"), ROOT / f"{name}.py"]]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", LEVEL)
def test_a_layer_imports_only_those_below(package):
    for path in MODULES:
        if path.exists() and path.relative_to(ROOT).parts[0].removesuffix(".py") == package:
            climbs = {
                name
                for name in imported(path)
                if name in LEVEL and name != package and LEVEL[name] >= LEVEL[package]
            }
            assert not climbs, f"{path}: imports {climbs}"


def test_nothing_imports_the_benchmarks_or_the_tests():
    for path in filter(Path.exists, MODULES):
        assert not {"benchmarks", "tests"} & set(imported(path)), path


def test_no_source_file_outgrows_its_noun():
    long = {
        p.name: n for p in MODULES if p.exists() and (n := len(p.read_text().splitlines())) > 350
    }
    assert not long

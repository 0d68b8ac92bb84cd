"""Every promise in docs/reliability.md names a test, and that test exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def promises():
    """(promise, what its row names as its tests) of every table that is headed so."""
    lines = (ROOT / "docs" / "reliability.md").read_text().splitlines()
    promised = False
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line == "| promise | test |":
            promised = True
        elif not line.startswith("|"):
            promised = False
        elif promised and cells[0] != "---":
            yield cells[0], cells[-1]


@pytest.mark.parametrize(("promise", "named"), list(promises()))
def test_every_promise_names_tests_that_exist(promise, named):
    tests = TEST.findall(named)
    assert tests, f"{promise}: no test"
    for path, name in tests:
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_kind_of_trouble_has_its_promises():
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "reliability.md").read_text(), re.M)
    assert headings[:5] == ["Killed", "Damaged", "Misused", "Hostile", "Fuzzed"]
    assert len(list(promises())) >= 5

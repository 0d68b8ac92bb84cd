"""The scripts in findings/ are listed, independent of this project's code, and fail on a change."""

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


def test_the_readme_lists_every_script_with_its_first_line():
    listed = re.findall(
        r"^- \[[^\]]+\]\(([^)]+\.sh)\): (.*)$", (FOLDER / "README.md").read_text(), re.M
    )
    assert listed == [(path.name, path.read_text().splitlines()[1][2:]) for path in SCRIPTS]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_pins_its_packages_and_says_what_it_found(path):
    text = path.read_text()
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert path.stat().st_mode & 0o111
    for part in ("Behaviour: ", "Seen: ", "Who meets it: ", "Here: "):
        assert f"\n# {part}" in text
    packages = re.search(r"--no-compile \\\n((?:    .*\\\n)*    .*\n)", text)
    assert packages is not None
    assert all("==" in word for word in packages[1].replace("\\", " ").split())
    assert "exit 1" in text or "assert " in text

"""The documentation: its links lead somewhere, its commands parse, its code runs or compiles."""

import re
import runpy
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image

from pipeline.exports.hub import upload_command
from pipeline.reference import generated_pages
from run_pipeline import COMMANDS, Commands

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)


def anchors(page):
    """As GitHub makes them of headings."""
    text = FENCE.sub("", page.read_text())
    titles = [
        re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in HEADING.findall(text)
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def blocks(language):
    """(page, code) of every fenced block in that language."""
    return [
        (page, code)
        for page in PAGES
        for found, code in FENCE.findall(page.read_text())
        if found == language
    ]


def commands():
    """(page, words) of every command line shown in a shell block, continued lines joined."""
    shown = []
    for page, code in blocks("sh"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                shown.append((page, words))
    return shown


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text())
    for target in LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name}: {target}"


def test_every_page_is_linked_from_the_readme_or_a_page_that_is():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for target in LINK.findall(page.read_text()):
            linked = (page.parent / target.partition("#")[0]).resolve()
            if linked.suffix == ".md" and linked.is_file() and linked not in reached:
                waiting.append(linked)
    assert set(PAGES) <= reached


def test_every_picture_of_the_docs_is_shown():
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in LINK.findall(page.read_text())
    }
    assert set((ROOT / "docs" / "images").iterdir()) <= shown


@pytest.mark.parametrize(
    ("page", "words"), commands(), ids=[" ".join(w)[:60] for _, w in commands()]
)
def test_commands_parse_and_name_files_that_exist(page, words):
    program, *rest = words
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.M)
    elif program == "pip":
        assert rest[:3] == ["install", "-c", "constraints.txt"]
        check_extras(rest[3:])
    elif program == "sbatch":
        assert all((ROOT / name).is_file() for name in rest)
    elif program == "hf":
        assert upload_command(rest[1].partition("/")[2], Path(rest[2])).endswith(shlex.join(words))
    elif words[:2] == ["python", "-m"]:
        assert (ROOT / f"{rest[1].replace('.', '/')}.py").is_file() or rest[1] == "zipfile"
    elif "run_pipeline.py" in [Path(word).name for word in words]:
        at = [Path(word).name for word in words].index("run_pipeline.py")
        check_arguments(words[at + 1 :])
    else:
        assert program in ("tensorboard", "cd", "git", "."), f"{page.name}: {words}"


def check_extras(packages):
    """Packages are the checkout itself, with extras that it has, or ones with a pinned version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = (ROOT / "constraints.txt").read_text()
    for package in packages:
        if package.startswith("."):
            assert set(re.findall(r"\w+", package)) <= set(project["optional-dependencies"])
        else:
            assert f"{package}==" in pinned, package


def check_arguments(words):
    """Raises what typer raises of arguments that the command does not take."""
    words = words[: words.index(">")] if ">" in words else words
    if words[0].startswith("--"):
        return
    assert words[0] in COMMANDS
    group = typer.main.get_command(typer.Typer(cls=Commands, callback=lambda: None))
    command = group.get_command(None, words[0])
    command.make_context(words[0], words[1:])
    for word in words[1:]:
        if word.startswith(("configs/", "docs/")):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_commands_help_parse(name):
    source = (ROOT / "pipeline" / "commands" / f"{name}.py").read_text()
    examples = re.findall(r"^ *python run_pipeline\.py (.*)$", source, re.M)
    assert examples
    for example in examples:
        check_arguments(shlex.split(example))


@pytest.mark.parametrize(
    ("page", "code"), blocks("python"), ids=[page.name for page, _ in blocks("python")]
)
def test_python_compiles_and_imports_what_exists(page, code):
    compile(code, page.name, "exec")
    for line in re.findall(r"^(?:from|import) (?:classification|subsample|pcdarts).*$", code, re.M):
        exec(line, {})


@pytest.mark.parametrize(
    ("page", "code"), blocks("yaml"), ids=[page.name for page, _ in blocks("yaml")]
)
def test_yaml_is_yaml(page, code):
    assert isinstance(yaml.safe_load(code), dict)


def test_the_generated_pages_are_what_make_docs_writes():
    for page, text in generated_pages().items():
        assert page.read_text() == text, page.name


def test_every_module_is_listed_with_a_sentence():
    page = (ROOT / "docs" / "architecture.md").read_text()
    lines = [line for line in page.splitlines() if re.match(r" *- \[", line)]
    assert len(lines) > 200
    assert [line for line in lines if not re.search(r"\) .+[.?]$", line)] == []


def test_the_picture_of_the_readme_is_what_its_script_draws(tmp_path):
    script = runpy.run_path(str(ROOT / "docs" / "examples" / "occlusion.py"))
    script["main"](tmp_path / "drawn.jpg")
    drawn, committed = (
        np.asarray(Image.open(path), dtype=float)
        for path in (tmp_path / "drawn.jpg", script["PICTURE"])
    )
    assert np.abs(drawn - committed).mean() < 1  # grey levels; text is drawn alike everywhere

"""YAML from strangers, by way of the command line: one line, exit status 2, nothing started."""

import contextlib
import os
import resource
from pathlib import Path

import pytest

from classification.errors import ConfigError
from pipeline.config import load_config
from pipeline.documents import Document
from pipeline.studies.study import load_study
from run_pipeline import main

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)
DATA = b"data: {kind: digits}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder of its own, where nothing may appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys, name="x.yaml"):
    """What is said of a file by each command that reads one; the same, and nothing is left."""
    before = sorted(Path().rglob("*"))
    messages = set()
    for command in (["run", name], ["config", name], ["graph", name], ["sweep", name]):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.err[:-1].isprintable()
        assert name in captured.err
        assert not captured.out
        messages.add(captured.err)
    assert sorted(Path().rglob("*")) == before
    return min(messages, key=len)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"data: !!python/object/apply:os.system ['touch ran']", "tags are not allowed"),
        (b"data: !!python/object/new:subprocess.Popen [[touch, ran]]", "tags are not allowed"),
        (b"!!python/name:os.system", "tags are not allowed"),
        (b"%TAG ! tag:yaml.org,2002:python/\n---\n!object/apply:os.system [touch ran]", "tags"),
        (b"a: !!int ''", "tags are not allowed"),
        (b"a: !!timestamp x", "tags are not allowed"),
        (LAUGHS.encode(), "anchors and aliases are not allowed"),
        (b"data: &a {kind: *a}", "anchors and aliases are not allowed"),
        (b"<<: {data: {kind: digits}}", "not valid YAML"),
        (DATA + DATA, "'data' twice"),
        (b"[" * 10**4, "nested too deeply"),
        (b"{a: " * 10**4, "nested too deeply"),
        (b"- " * 10**4, "nested too deeply"),
        (b"a: 1" + b"\n a: 1" * 3, "not valid YAML"),
        (b"seed: " + b"9" * 5000 + b"\n" + DATA, "not valid YAML"),
        (b"seed: 0x" + b"f" * 5000 + b"\n" + DATA, "seed: found a number of 20000 bits"),
        (b"seed: 1" + b"0" * 400 + b"\n" + DATA, "seed: found a number of"),
        (b"scorer: {learning_rate: .inf}\n" + DATA, "scorer.learning_rate: found inf"),
        (b"scorer: {learning_rate: .nan}\n" + DATA, "scorer.learning_rate: found nan"),
        (b'name: "a\\0b"\n' + DATA, "name: found 'a\\x00b'"),
        (b'name: "\\e[2J"\n' + DATA, "name: found '\\x1b[2J'"),
        (b'"\\e[2J": 1\n' + DATA, "a key of the file: found '\\x1b[2J'"),
        (b'data: {root: "\\ud800", kind: digits}', "data.root: found '\\ud800'"),
        (b"name: \xff\xfe\n", "not UTF-8 text"),
        (b"name: a\0b\n" + DATA, "not valid YAML"),
        (b"\xff\xfen\0a\0m\0e\0", "not UTF-8 text"),
        (b"x" * (1 << 18) + b"x", "larger than the limit"),
        (b"? [a, b]\n: 1\n", "not valid YAML"),
        (b"--- {}\n--- {}\n", "not valid YAML"),
    ],
    ids=range(29),
)
def test_hostile_yaml_is_refused_in_one_line(folder, capsys, content, expected):
    (folder / "x.yaml").write_bytes(content)
    assert expected in refusal(capsys)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "endless"])
def test_what_is_no_file_is_refused_without_waiting(folder, capsys, kind):
    path = folder / "x.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(
            {"device": "/dev/zero", "loop": path, "endless": "/proc/self/pagemap"}[kind]
        )
    refusal(capsys)


def test_a_base_is_read_as_carefully(folder, capsys):
    (folder / "x.yaml").write_text("base: pipe\ndata: {kind: digits}\n")
    os.mkfifo(folder / "pipe")
    assert main(["config", "x.yaml"]) == 2
    assert "pipe: cannot be read (not a regular file)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["a: 0\n", "- a\n", "[a],", "a,"], ids=["keys", "items", "lists", "flow"]
)
@pytest.mark.long
def test_the_largest_document_takes_bounded_memory(tmp_path, text):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "x.yaml"
    size = 1 << 18
    if text == "a: 0\n":
        content = "".join(f"k{i:x}: 0\n" for i in range(size // 11))
    else:
        content = text * (size // len(text))
        content = f"[{content[: size - 2]}]" if "," in text else content
    path.write_text(content[:size])
    with contextlib.suppress(ConfigError):
        Document.read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # KiB


def test_a_byte_order_mark_and_dates_are_no_trouble(folder):
    (folder / "x.yaml").write_bytes(b"\xef\xbb\xbfname: 2026-11-24\n" + DATA)
    assert load_config(folder / "x.yaml").name == "2026-11-24"


def test_the_name_of_a_file_may_hold_any_letter(folder):
    """A space without a break, as in the names that macOS gives pictures of the screen."""
    (folder / "x.yaml").write_text("data: {kind: folder, root: 'Bilder\u202fä 図'}\n")
    assert load_config(folder / "x.yaml").data.root == Path("Bilder\u202fä 図")


def test_a_study_of_too_many_cells_is_refused_before_they_are_made(folder):
    numbers = ", ".join(str(i) for i in range(1, 1001))
    grid = ", ".join(
        f"search.{key}: [{numbers}]" for key in ("epochs", "channels", "cells", "batch_size")
    )
    (folder / "base.yaml").write_bytes(DATA)
    (folder / "x.yaml").write_text(
        f"name: s\nbase: base.yaml\ngrid: {{{grid}}}\nseries: [{{name: a}}]\n"
    )
    with pytest.raises(ConfigError, match=r"1,000,000,000,000 points; allowed: at most 10,000"):
        load_study(folder / "x.yaml")


def test_a_study_of_too_many_seeds_is_refused_too(folder):
    points = ", ".join(str(0.001 * i) for i in range(1, 601))
    (folder / "base.yaml").write_bytes(DATA)
    (folder / "x.yaml").write_text(
        f"name: s\nbase: base.yaml\nseeds: 20\ngrid: {{subset.fraction: [{points}]}}\n"
        "series: [{name: a}]\n"
    )
    with pytest.raises(ConfigError, match=r"x\.yaml:3: seeds: found 20, so 12,000 trials"):
        load_study(folder / "x.yaml")

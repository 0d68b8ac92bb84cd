"""What stands in a store, read without the product's own code, and whether it may stand there."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

FIGURES = {".png", ".svg", ".pdf"}


@dataclass(frozen=True)
class Standing:
    """A published artifact: the folder's inode, and the SHA-256 of each of its files."""

    inode: int
    digests: dict[str, str]


def standing(artifacts: Path) -> dict[str, Standing]:
    """All that is published, by stage and fingerprint. Fails if any of it is not whole."""
    found = {}
    for folder in artifacts.glob("[!.]*/[!.]*"):
        manifest = json.loads((folder / "artifact.json").read_text())
        digests = {name: _digest(folder / name) for name in manifest["files"]}
        assert digests == manifest["files"], folder
        digests["artifact.json"] = _digest(folder / "artifact.json")
        found[str(folder.relative_to(artifacts))] = Standing(folder.stat().st_ino, digests)
    return found


def check_standing(
    now: dict[str, Standing], before: dict[str, Standing], whole: dict[str, Standing]
) -> None:
    """Fail unless all that stood still does, untouched, and is what an unstopped run makes."""
    for name, artifact in before.items():
        assert now.get(name) == artifact, f"{name}: lost, or made again"
    for name, artifact in now.items():
        assert _without_figures(artifact) == _without_figures(whole[name]), name


def check_finished(artifacts: Path, reference: Path) -> None:
    """Fail unless both stores hold the same files with the same bytes, and nothing beside them.

    Figures have to be there, whatever is in them; the ledger is compared by who wants to.
    """
    files, expected = (_files(folder) for folder in (artifacts, reference))
    assert files.keys() == expected.keys()
    differing = [n for n in files if files[n] != expected[n] and Path(n).suffix not in FIGURES]
    assert not differing


def ledger(artifacts: Path) -> list[dict]:
    """The lines of the ledger that are whole; at most the newest of a killed process is not."""
    path = artifacts / "ledger.jsonl"
    attempts = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            attempts.append(json.loads(line))
        except ValueError:
            assert not line.endswith("}"), line
    return attempts


def _without_figures(artifact: Standing) -> dict[str, str]:
    return {n: d for n, d in artifact.digests.items() if Path(n).suffix not in FIGURES}


def _files(artifacts: Path) -> dict[str, str]:
    paths = [p for p in artifacts.rglob("*") if p.is_file() and p.name != "ledger.jsonl"]
    return {
        str(p.relative_to(artifacts)): _digest(p) for p in paths if not p.name.startswith(".lock-")
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

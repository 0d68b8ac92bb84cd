"""runs/<name>/: a run's config, manifest, log and report."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from classification.errors import ArtifactError
from classification.persistence.storage import writable, write_atomically
from pipeline.store.checksum import add_checksum, read_verified
from pipeline.store.ledger import Ledger
from pipeline.store.store import is_locked

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig

_CONFIG, _MANIFEST, _LOG, _REPORT = "config.yaml", "manifest.json", "log.txt", "report"
_EVENTS = "tensorboard"
_START_UPS = "start-ups.jsonl"
_HISTORY = ".history"
REPORT, PAGE, RESULTS = "report.md", "report.html", "results.json"  # in the report's folder
PARTIAL = "unfinished.md"  # in the same folder, until the run is finished


@dataclass(frozen=True)
class LastRun:
    """The resolved config of a recorded run as text, the fingerprints of its stages, and its folder
    of artifacts, if known."""

    config_text: str
    stages: Mapping[str, str]
    artifacts: str | None = None


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; it refers to artifacts and contains none."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / _CONFIG

    @property
    def log(self) -> Path:
        return self.path / _LOG

    @property
    def report(self) -> Path:
        return self.path / _REPORT

    @property
    def events(self) -> Path:
        return self.path / _EVENTS

    @property
    def start_ups(self) -> Ledger:
        """The time of each command of the run before its first stage: start-up, loading images."""
        return Ledger(self.path / _START_UPS)

    @classmethod
    def open(cls, root: Path, run: str) -> RunFolder:
        """Open an existing run by name or path. Raises ArtifactError if there is none."""
        for path in (root / run, Path(run)):
            if (path / _CONFIG).is_file():
                return cls(path)
        names = ", ".join(sorted(p.parent.name for p in root.glob(f"*/{_CONFIG}"))) or "none"
        raise ArtifactError(
            f"{root}: no run called {run!r}; existing runs: {names}; allowed: one of these, "
            "--runs FOLDER if `run` was given another folder, or the path of the run"
        )

    @classmethod
    def record(
        cls,
        root: Path,
        config: PipelineConfig,
        stages: dict[str, str],
        artifacts: Path,
        device: str,
    ) -> RunFolder:
        """Record a run before it starts; `stages` maps stage names to fingerprints.

        An existing folder of that name with another config or other artifacts is moved to
        runs/.history, with its report.
        """
        from pipeline.config import dump_config  # slow to import, and reading needs none of it

        folder = cls(root / config.name)
        text = dump_config(config)
        written = folder.path / _CONFIG
        manifest = {
            "name": config.name,
            "seed": config.seed,
            "device": device,
            "artifacts": str(artifacts),
            "stages": stages,
            "config": _digest(text.encode()),
        }
        folder.make_way(config, stages)
        with writable(folder.path, "--runs"):
            folder.path.mkdir(parents=True, exist_ok=True)
            write_atomically(written, text)
            write_atomically(
                folder.path / _MANIFEST, json.dumps(add_checksum(manifest), indent=1) + "\n"
            )
        return folder

    def make_way(self, config: PipelineConfig, stages: Mapping[str, str]) -> RunFolder | None:
        """Move the folder to runs/.history if it records another run; return where it is then."""
        from pipeline.config import dump_config  # slow to import, as above

        last = self.last()
        if last is None or (last.config_text == dump_config(config) and last.stages == stages):
            return None
        with writable(self.path, "--runs"):
            self.history.mkdir(exist_ok=True)
            number = 1
            while (kept := self.history / f"{self.path.name}-{number}").exists():
                number += 1
            self.path.rename(kept)
        return RunFolder(kept)

    def last(self) -> LastRun | None:
        """Return the run that was recorded last in this folder, if any."""
        try:
            text = (self.path / _CONFIG).read_text(errors="replace")
        except FileNotFoundError:
            return LastRun("", {}) if (self.path / _MANIFEST).is_dir() else None
        except OSError:
            text = ""
        try:
            manifest = self.manifest()
        except ArtifactError:
            return LastRun(text, {})
        return LastRun(text, manifest["stages"], manifest.get("artifacts"))

    @contextmanager
    def claimed(self, log: Callable[[str], None], config_text: str = "") -> Iterator[None]:
        """Lock the folder for the block; another process with the same config waits.

        Raises ArtifactError, and changes nothing, if another run of that name with other settings
        is in progress, or if the folder of runs cannot be written.
        """
        path = self._claim
        with writable(path.parent, "--runs"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            last = self.last()
            if last is not None and last.config_text != config_text:
                raise ArtifactError(
                    f"{self.path}: another run named {self.path.name} with other settings is in "
                    "progress; wait for it or choose another --name"
                ) from None
            log(f"{self.path}: this run is in progress in another process; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def config(self) -> PipelineConfig:
        """Return the resolved config. Raises ArtifactError if its file is damaged."""
        from pipeline.config import load_config  # slow to import, as above

        self.config_text()
        return load_config(self.config_path)

    def config_text(self) -> str:
        """Return the resolved config as written. Raises ArtifactError if its file is damaged."""
        try:
            text = self.config_path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{self.config_path}: cannot be read ({error})") from error
        if self.manifest().get("config") not in (None, _digest(text)):
            raise ArtifactError(
                f"{self.config_path}: damaged; `run` with the same config writes it again"
            )
        return text.decode(errors="replace")

    def manifest(self) -> dict[str, Any]:
        """Return name, seed, device, artifact store and the fingerprint of each stage.

        Raises ArtifactError, naming the file, if it is damaged.
        """
        path = self.path / _MANIFEST
        manifest = read_verified(path)
        if not isinstance(manifest.get("stages"), dict):
            raise ArtifactError(f"{path}: not a run's manifest (no `stages`)")
        texts = [manifest.get("name"), manifest.get("artifacts"), *manifest["stages"].values()]
        if not all(isinstance(text, str) for text in texts):
            raise ArtifactError(f"{path}: not a run's manifest (`name`, `artifacts` or a stage)")
        return manifest

    @property
    def stands(self) -> bool:
        """Whether a run was recorded in the folder, even if part of the record is missing."""
        parts = (self.config_path, self.path / _MANIFEST, self.path / _REPORT / "report.md")
        return any(map(os.path.lexists, parts))

    @property
    def _claim(self) -> Path:
        return self.path.parent / f".lock-{self.path.name}"

    @property
    def is_history(self) -> bool:
        """Whether a later run of the same name replaced this one."""
        return self.path.parent.name == _HISTORY

    @property
    def history(self) -> Path:
        """The folder of runs that were replaced by later runs of the same name."""
        return self.path.parent / _HISTORY

    @property
    def is_running(self) -> bool:
        """Whether a process has claimed the folder; writes nothing."""
        return is_locked(self._claim)

    def resume_command(self, artifacts: Path, name: str, *options: str) -> str:
        """Return the command that resumes this run, called `name`, with that store."""
        return self.run_command(artifacts, "--name", name, *options)

    @property
    def status_command(self) -> str:
        """The command that shows how far the run is."""
        return self.command_on("status")

    def command_on(self, command: str, *words: str) -> str:
        """Return the line of a command on this run, with the `--runs` that it needs. The run's
        record names its artifacts."""
        name = self.path.name
        return shlex.join(["python", "run_pipeline.py", command, name, *words, *self._runs()])

    def run_command(self, artifacts: Path, *options: str) -> str:
        """Return the command that runs this run's config with that store and `options`."""
        words = ["python", "run_pipeline.py", "run", str(self.config_path), *options]
        words += self._runs()
        words += [] if str(artifacts) == "artifacts" else ["--artifacts", str(artifacts)]
        return shlex.join(words)

    def _runs(self) -> list[str]:
        runs = self.path.parent.parent if self.is_history else self.path.parent
        return [] if str(runs) == "runs" else ["--runs", str(runs)]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""Runs the stages in order: reuses finished ones, resumes started ones, records the cost."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from classification.compilation import keep_compiled_in
from classification.data.datasets import ImageDataset
from classification.errors import (
    ArtifactError,
    ConfigError,
    DeviceError,
    InterruptedRunError,
    PipelineError,
    did_you_mean,
)
from classification.persistence.storage import storing
from classification.persistence.workspace import Workspace
from classification.progress import Progress, silent
from classification.settings import effective_settings
from classification.world import ALONE, World
from pipeline.config import PipelineConfig
from pipeline.console import Console, StageOfRun
from pipeline.device import device_kind, device_name, software
from pipeline.failure import failure_of, is_out_of_memory
from pipeline.graph import SOURCES, Context, Stage, build_graph, fingerprints, stage_order
from pipeline.sharing import take_part
from pipeline.signals import deferred
from pipeline.store.ledger import Attempt, start_time
from pipeline.store.parts import Parts
from pipeline.store.resumption import prepare
from pipeline.store.stopwatch import AttemptProgress, Stopwatch
from pipeline.store.store import Artifact, FormatError, Store, done_line, reused_line

Action = Literal["reuse", "resume", "run", "blocked"]


@dataclass(frozen=True)
class Selection:
    """The stages that the user requested."""

    until: str | None = None
    only: str | None = None
    force: str | None = None

    def check(self, order: list[str]) -> None:
        """Raise ConfigError, naming the option, for a stage that this config does not run."""
        for option, stage in vars(self).items():
            if stage is not None and stage not in order:
                raise ConfigError(
                    f"--{option}: found {stage!r}; {did_you_mean(stage, order)}"
                    f"allowed: {', '.join(order)}"
                )
        if self.until and self.only:
            raise ConfigError("--only: found together with --until; allowed: one of the two")

    def of(self, order: list[str]) -> list[str]:
        if self.only:
            return [self.only]
        return order[: order.index(self.until) + 1] if self.until else order


@dataclass(frozen=True)
class Step:
    """The planned action for a stage, and the reason."""

    stage: str
    fingerprint: str
    action: Action
    reason: str


class Runner:
    """Runs one config with one store on one device."""

    def __init__(
        self,
        stages: Mapping[str, Stage[Any]],
        config: PipelineConfig,
        datasets: Mapping[str, ImageDataset],
        store: Store,
        device: torch.device,
        console: Console,
        world: World = ALONE,
    ) -> None:
        self.stages, self.config, self.datasets = stages, config, datasets
        self.store, self.device, self.console, self.world = store, device, console, world
        # Called with a stage and its folder after each progress.
        self.watch: Callable[[str, Path], None] = lambda stage, directory: None
        self.order = stage_order(build_graph(stages, config), stages)
        content = {name: dataset.content_hash for name, dataset in datasets.items()}
        self.keys = fingerprints(stages, config, content)
        self._damaged: set[str] = set()

    def plan(self, selection: Selection) -> list[Step]:
        """Return the steps of `run`, in order, without starting any."""
        selection.check(self.order)
        standing: dict[str, Artifact] = {}
        steps = []
        for name in selection.of(self.order):
            if selection.only:
                standing = self._standing(name)
            step = self._step(name, standing, forced=name == selection.force)
            steps.append(step)
            if step.action == "reuse":
                standing[name] = self._require(name)
        return steps

    def run(self, selection: Selection) -> dict[str, Artifact]:
        """Run the stages without an artifact. Returns the artifacts of all selected stages.

        Raises InterruptedRunError, naming the stage and its progress, when the user stops it.
        """
        selection.check(self.order)
        keep_compiled_in(self.store.root)
        artifacts: dict[str, Artifact] = {}
        for number, name in enumerate(selected := selection.of(self.order), 1):
            self.console.of_run = StageOfRun(number, len(selected), self.console.begun)
            if selection.only:
                artifacts = self.world.from_first(partial(self._standing, name))
            forced = name == selection.force
            artifact = self._agree(name, artifacts, forced)
            if artifact is not None:
                self.console.log(reused_line(self.store, name, self.keys[name]))
            artifacts[name] = artifact or self._obtain(name, artifacts, forced)
            self.watch(name, artifacts[name].path)
        return artifacts

    def _step(self, name: str, standing: Mapping[str, Artifact], forced: bool) -> Step:
        key = self.keys[name]
        missing = [n for n in self._stage_needs(name) if n not in standing]
        work = self.store.workspace(name, key)
        if forced:
            return Step(name, key, "run", "forced")
        if missing:
            return Step(name, key, "run", f"needs {' and '.join(missing)}, not made yet")
        if self._find(name, standing) is not None:
            return Step(name, key, "reuse", str(self.store.path(name, key)))
        if name in self._damaged:
            return Step(name, key, "run", "the existing artifact is damaged")
        if any(work.glob("checkpoint-*")):
            return Step(name, key, "resume", f"unfinished work in {work}")
        return Step(name, key, "run", "not made yet with these settings")

    def _find(self, name: str, inputs: Mapping[str, Artifact]) -> Artifact | None:
        """Return the stage's artifact if it exists, is intact, and was made from these inputs."""
        try:
            artifact = self.store.find(name, self.keys[name])
        except FormatError:
            raise
        except ArtifactError as error:
            if name not in self._damaged:
                self.console.log(f"{error}; {name} is made again")
            self._damaged.add(name)
            return None
        if artifact is None or artifact.manifest.get("inputs") != self._inputs(name, inputs):
            return None
        if artifact.manifest.get("version") != self.stages[name].version:
            return None
        return artifact

    def _require(self, name: str) -> Artifact:
        artifact = self.store.find(name, self.keys[name])
        if artifact is None:
            raise ArtifactError(
                f"--only: {name} is needed and does not exist yet; run without --only, or with "
                f"--until {name}"
            )
        return artifact

    def _standing(self, name: str) -> dict[str, Artifact]:
        """Return the artifacts that `name` needs; all must exist."""
        return {need: self._require(need) for need in self._stage_needs(name)}

    def _obtain(self, name: str, artifacts: Mapping[str, Artifact], forced: bool) -> Artifact:
        """Run the stage, unless another process runs it while this one waits."""
        key = self.keys[name]
        if not self.world.is_first:
            return self._agree(name, artifacts, forced) or self._help(name, artifacts)
        if self.store.is_locked(name, key):
            helps = self.stages[name].help is not None and self.world.alone and not forced
            what = "taking part" if helps else "waiting"
            self.console.log(f"{name:8} another run is making it; {what}")
            if helps:
                take_part(self, name, partial(self._context, name, artifacts))
        with self.store.lock(name, key):
            return self._agree(name, artifacts, forced) or self._make(name, artifacts, forced)

    def _agree(self, name: str, artifacts: Mapping[str, Artifact], forced: bool) -> Artifact | None:
        """Return the artifact that the first process finds, unless the stage has to run."""
        find = partial(self._find, name, artifacts)
        return self.world.from_first(lambda: None if forced else find())

    def _help(self, name: str, artifacts: Mapping[str, Artifact]) -> Artifact:
        """Do this process's part of a stage; the first process writes the artifact."""
        if self.stages[name].parallel:
            with TemporaryDirectory(prefix=f"{name}-") as folder:
                context = self._context(name, artifacts, Path(folder), silent)
                with self._together(name):
                    self.stages[name].run(context)
        return self.world.from_first(lambda: self._require(name))

    @contextmanager
    def _together(self, name: str) -> Iterator[None]:
        """Turn the exception of a broken connection into a one-line error."""
        try:
            yield
        except RuntimeError as error:
            if self.world.alone or is_out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0]
            raise DeviceError(
                f"{name}: process {self.world.rank} of {self.world.size} cannot continue without "
                f"the others ({reason}); run the same command to resume from the last checkpoint"
            ) from error

    def _context(
        self,
        name: str,
        artifacts: Mapping[str, Artifact],
        work: Path,
        progress: Progress,
        parts: Parts | None = None,
    ) -> Context[Any]:
        world = self.world if self.stages[name].parallel else ALONE
        return Context(
            self.stages[name].settings(self.config),
            self.datasets,
            {need: artifacts[need] for need in self._stage_needs(name)},
            Workspace(work, progress, self.console.log, world),
            self.device,
            self.console.log,
            parts,
        )

    def _make(self, name: str, artifacts: Mapping[str, Artifact], forced: bool) -> Artifact:
        begin, attempt = time.monotonic(), self.attempt(name)
        key, work = self.keys[name], self.store.workspace(name, self.keys[name])
        inputs = self._inputs(name, artifacts)
        parts = Parts(work, self.store.ledger)
        with storing(work), parts.all_closed():
            prepare(work, inputs, forced, self.store.ledger, self.console.log)
        stopwatch = Stopwatch(self.store.ledger, work, attempt, begin)
        evaluated = self.stages[name].evaluated(self.datasets)
        with self.console.progress(name, self.device.type, evaluated=evaluated) as show:
            progress = AttemptProgress(stopwatch, show, partial(self.watch, name, work))
            shared = parts if self.world.alone else None
            context = self._context(name, artifacts, work, progress, shared)
            context.workspace.spent = stopwatch.spent
            try:
                with self._together(name):
                    self.stages[name].run(context)
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)
            except KeyboardInterrupt as stop:
                attempt = stopwatch.give_up("interrupted")
                message = f"interrupted in {name}{attempt.how_far}"
                raise InterruptedRunError(message, stage=name) from stop
            except BaseException as error:
                attempt = stopwatch.give_up("failed")
                section = self.stages[name].section_of(self.config)
                problem = failure_of(error, name, section, attempt, self.config, work)
                if problem is not None and not self.stages[name].parallel:
                    self.world.from_first(
                        partial(_raise, problem)
                    )  # the others wait for the result
                if problem is None or problem is error:
                    raise
                raise problem from error
        with deferred(), storing(work):
            attempt = stopwatch.stop("done")
            description = {
                "version": self.stages[name].version,
                "settings": effective_settings(context.settings),
                "inputs": inputs,
                **self.stages[name].preprocessing(self.config, self.datasets),
            }
            artifact = self.store.publish(name, key, description)
        self.console.log(done_line(self.store, attempt))
        return self.world.from_first(lambda: artifact)

    def attempt(self, name: str) -> Attempt:
        return Attempt(
            stage=name,
            fingerprint=self.keys[name],
            run=self.config.name,
            started=start_time(),
            seconds=0.0,
            device=device_name(self.device),
            device_kind=device_kind(self.device),
            devices=self.world.size,
            outcome="killed",
            software=software(),
            threads=torch.get_num_threads(),
        )

    def _inputs(self, name: str, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
        described: dict[str, Any] = {}
        for need in self.stages[name].needs(self.config):
            if need in SOURCES:
                described[need] = {"content_hash": self.datasets[need].content_hash}
            else:
                artifact = artifacts[need]
                described[need] = {"fingerprint": artifact.fingerprint, "digest": artifact.digest}
        return described

    def _stage_needs(self, name: str) -> list[str]:
        return [need for need in self.stages[name].needs(self.config) if need not in SOURCES]


def _raise(error: PipelineError) -> Artifact:
    raise error

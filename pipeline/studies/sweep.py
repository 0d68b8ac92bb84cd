"""Runs a study: makes every missing stage, in dependency order."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from classification.errors import InterruptedRunError
from pipeline.console import Console
from pipeline.inputs import check_inputs
from pipeline.stages import STAGES
from pipeline.store.store import Store
from pipeline.studies.ray_cluster import Share, connected, share_of
from pipeline.studies.study import Study
from pipeline.studies.tasks import StageKey, Task, Tasks, datasets_of, make

if TYPE_CHECKING:
    from pipeline.studies.ray_workers import RayWorkers


def plan(study: Study, device: torch.device, artifacts: Path, console: Console) -> Tasks:
    """Return the tasks of all trials, and which of them are done already.

    Raises PipelineError if a trial's data or device does not fit its config.
    """
    datasets, checked = [], set()
    for trial in study.trials:
        images = datasets_of(trial.config)
        # The checks do not depend on the seed.
        described = trial.config.model_copy(update={"seed": 0, "name": "-"}).model_dump_json()
        if described not in checked:
            check_inputs(trial.config, images, device)
            checked.add(described)
        datasets.append(images)
    return Tasks(STAGES, study.trials, datasets, Store(artifacts), device, console, study.until)


def make_all(
    tasks: Tasks,
    jobs: int | None,
    device: torch.device,
    artifacts: Path,
    console: Console,
    ray_address: str | None = None,
) -> None:
    """Make all open tasks, `jobs` at a time; their outcomes are recorded in `tasks`.

    A single job runs in this process, several on a Ray cluster started for this sweep.
    `ray_address` joins a running cluster, which without `jobs` gets as many as it can run.
    Raises InterruptedRunError if the user interrupts it, ConfigError if Ray cannot be joined.
    """
    board, ended = _Board(tasks, console), set[StageKey]()
    if not tasks.count("open"):
        return
    try:
        with _maker(jobs, device, artifacts, console, ray_address) as maker:
            while maker.busy or tasks.count("open"):
                begun = maker.at_work
                waiting = [task for task in tasks.ready() if task.key not in begun]
                while waiting and maker.has_room:
                    task = waiting.pop(0)
                    board.begin(task)
                    maker.begin(task)
                for task in _shared(tasks, maker.at_work - ended, maker.workers):
                    if maker.has_room:
                        board.begin(task, "helps")
                        maker.begin(task)
                task, error = maker.next()
                ended.add(task.key)
                if task.key not in maker.at_work:  # else a process that shares it ends it
                    tasks.finish(task.key, error)
                    board.end(task, error)
    except InterruptedRunError as stop:
        raise InterruptedRunError(f"{stop}; {board.standing()}") from stop
    except KeyboardInterrupt as stop:
        raise InterruptedRunError(f"interrupted; {board.standing()}") from stop


def _shared(
    tasks: Tasks, at_work: set[StageKey], workers: Callable[[StageKey], int]
) -> Iterator[Task]:
    """Yield each task at work as many times as it has parts for more processes."""
    for task in (tasks.tasks[key] for key in sorted(at_work)):
        stage = STAGES[task.stage]
        if stage.help is not None:
            yield from repeat(task, max(0, stage.parts(task.config) - workers(task.key)))


class _Board:
    """Logs the sweep's progress."""

    def __init__(self, tasks: Tasks, console: Console) -> None:
        self._tasks, self._console = tasks, console
        self._begin, self._done = time.monotonic(), 0
        trials = len(tasks.of_trial)
        console.log(
            f"{trials} trials, {len(tasks.tasks)} stages: {tasks.count('reused')} done, "
            f"{tasks.count('open')} to run"
        )

    def begin(self, task: Task, what: str = "starts") -> None:
        self._console.log(f"{task.stage:8} {what:8} {task.fingerprint}  for {task.trial}")

    def end(self, task: Task, error: str | None) -> None:
        self._done += 1
        left = self._tasks.count("open")
        seconds = (time.monotonic() - self._begin) / self._done * left
        if error:
            self._console.log(f"{task.stage:8} FAILED   {task.fingerprint}  {error}")
        self._console.log(f"{self.standing()}  about {timedelta(seconds=round(seconds))} left")

    def standing(self) -> str:
        tasks = self._tasks
        whole = sum(tasks.is_whole(trial) for trial in range(len(tasks.of_trial)))
        failed = sum(tasks.error_of(trial) is not None for trial in range(len(tasks.of_trial)))
        stand = tasks.count("reused", "done")
        return (
            f"trials {whole}/{len(tasks.of_trial)}{f', {failed} failed' if failed else ''}  "
            f"stages {stand}/{len(tasks.tasks)}"
        )


class _Here:
    """One task at a time, in this process."""

    def __init__(self, device: torch.device, artifacts: Path, console: Console) -> None:
        self._start = (str(device), artifacts, console)
        self._task: Task | None = None

    @property
    def has_room(self) -> bool:
        return self._task is None

    @property
    def busy(self) -> bool:
        return self._task is not None

    @property
    def at_work(self) -> set[StageKey]:
        return {self._task.key} if self._task else set()

    def workers(self, key: StageKey) -> int:
        return int(key in self.at_work)

    def begin(self, task: Task) -> None:
        self._task = task

    def next(self) -> tuple[Task, str | None]:
        task, self._task = self._task, None
        assert task is not None
        return task, make(task, *self._start)


@contextmanager
def _maker(
    jobs: int | None,
    device: torch.device,
    artifacts: Path,
    console: Console,
    ray_address: str | None,
) -> Iterator["_Here | RayWorkers"]:
    """Provide what makes tasks, here or on Ray, and end its processes with the block."""
    if jobs == 1 and ray_address is None:
        yield _Here(device, artifacts, console)
        return
    threads, on_gpu = torch.get_num_threads(), device.type == "cuda"
    with connected(ray_address, jobs or 1):
        import ray  # optional, and slow to import

        from pipeline.studies.ray_workers import RayWorkers

        if ray_address is None:
            share = Share(1, int(on_gpu), max(1, threads // (jobs or 1)))
        else:
            share = share_of(ray.nodes(), on_gpu, threads)
        room = share.rooms(ray.nodes())
        if jobs is not None and room < jobs:
            console.log(f"--jobs {jobs}: the cluster can run {room} at once now; the others wait")
        workers = RayWorkers(jobs, share, str(device), artifacts, console)
        try:
            yield workers
        finally:
            workers.stop()

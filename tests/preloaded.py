"""Processes forked from one that has imported the pipeline: to import torch takes seconds.

The fork server is one of its own. There is a single one in multiprocessing, which imports what its
first user asked for, and that may have been a loader of images in files.
"""

import multiprocessing
from multiprocessing import forkserver
from unittest import mock

_SERVER = forkserver.ForkServer()
_SERVER.set_forkserver_preload(
    [
        "run_pipeline",
        "pipeline.commands.run",
        "pipeline.stages",
        "pipeline.reports.run",
        "sklearn.datasets",
    ]
)


def start_process(target, *arguments):
    """A process that runs `target`, a function of a module, on `arguments`."""
    process = multiprocessing.get_context("forkserver").Process(target=target, args=arguments)
    with mock.patch.object(forkserver, "connect_to_new_process", _SERVER.connect_to_new_process):
        process.start()
    return process

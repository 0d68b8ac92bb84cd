"""Composes the stages: configuration, graph, artifact store, runner, ledger and reports."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.opened_run import open_run

__all__ = ["open_run"]


def __getattr__(name: str) -> Any:
    """Import `open_run` when it is used: it needs torch, which light commands do without."""
    if name in __all__:
        from pipeline.opened_run import open_run

        return open_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Composes the stages: configuration, graph, artifact store, runner, ledger and reports."""

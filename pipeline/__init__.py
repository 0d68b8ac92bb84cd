"""The stages composed: configuration, graph, artifact store, runner, ledger and report."""

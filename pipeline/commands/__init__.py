"""The commands: one a module, read by typer, registered in run_pipeline.py."""

"""The `table` command."""

from pathlib import Path

from pipeline.commands.options import RunNames, Runs
from pipeline.run_folder import RESULTS, RunFolder


def table(names: RunNames, runs: Runs = Path("runs")) -> None:
    """Print a table of classifier runs.

    One row per setting, with mean ± std over its seeds and the paper's value.

    \b
    Example:
      python run_pipeline.py table vanilla cutmix dcutmix dcutmix-seed1
    """
    from pipeline.comparisons.classifiers import classification_table  # slow to import
    from pipeline.reports.classification import read_classification

    folders = [RunFolder.open(runs, name) for name in names]
    print(classification_table([read_classification(f.report / RESULTS) for f in folders]))

"""A study swept in a folder of its own."""

from pathlib import Path

import pytest

from pipeline.commands.sweep import sweep as run_sweep


@pytest.fixture(scope="module")
def sweep_in_folder(tmp_path_factory):
    """Sweep a study over a base config, both as text, on the CPU; return the folder, with the
    store in artifacts/ and the runs in runs/."""

    def sweep(base, study):
        folder = tmp_path_factory.mktemp("study")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            Path("base.yaml").write_text(base)
            Path("study.yaml").write_text(study)
            store, runs = Path("artifacts"), Path("runs")
            swept = run_sweep(Path("study.yaml"), jobs=1, device="cpu", artifacts=store, runs=runs)
            assert swept == 0
        return folder

    return sweep

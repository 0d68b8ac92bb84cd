"""What compiling needs, and that it leaves results and names alone; no kernel is made here."""

import os

import pytest
import torch

from classification import compilation
from classification.compilation import check_compilation, compile_modules, keep_compiled_in
from classification.errors import ConfigError
from classification.settings import effective_settings
from pcdarts.search import build_supernet
from pcdarts.search_config import SearchConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_off_needs_nothing_and_on_needs_cuda():
    check_compilation("search", "off", CPU)
    with pytest.raises(
        ConfigError, match=r"search\.compile: found 'on' on a cpu; allowed there: off"
    ):
        check_compilation("search", "on", CPU)


def test_on_needs_triton_and_a_c_compiler(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(compilation.shutil, "which", lambda name: name == "gcc")
    check_compilation("search", "on", CUDA)
    monkeypatch.setenv("CC", "icc")
    with pytest.raises(
        ConfigError, match=r"CC names a C compiler that is not found, 'icc'; .*: off, or"
    ):
        check_compilation("search", "on", CUDA)
    monkeypatch.delenv("CC")
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"no C compiler \(CC, or one of cc, gcc, clang\); .* off"
    ):
        check_compilation("search", "on", CUDA)
    monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="but triton is not installed"):
        check_compilation("search", "on", CUDA)


def test_a_bare_on_of_yaml_is_the_word_and_only_on_is_fingerprinted():
    assert SearchConfig.model_validate({"compile": True}).compile == "on"
    assert "compile" not in effective_settings(SearchConfig())
    assert effective_settings(SearchConfig(compile="on"))["compile"] == "on"


def test_the_cache_is_in_the_store_unless_the_user_chose_another(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "chosen")
    keep_compiled_in(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "chosen"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_compiled_in(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / ".compiled")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


def test_kernels_beyond_the_bound_go_the_least_recently_used_first(monkeypatch, tmp_path):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(compilation, "MOST_BYTES", 250)
    files = [tmp_path / ".compiled" / name for name in ("aa/new", "bb/old", "cc/used", "dd/oldest")]
    # (last read, last written): "used" was written first and read lately.
    times = [(30, 30), (20, 20), (40, 5), (10, 10)]
    for file, both in zip(files, times, strict=True):
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(100))
        os.utime(file, both)
    keep_compiled_in(tmp_path)
    assert [file.exists() for file in files] == [True, False, True, False]
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "chosen")
    monkeypatch.setattr(compilation, "MOST_BYTES", 0)
    keep_compiled_in(tmp_path)
    assert files[0].exists()


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # read by torch itself
def test_compiled_cells_give_the_same_logits_and_gradients_and_keep_their_names():
    """With the backend that runs the traced graph as it is."""
    config = SearchConfig(channels=4, cells=3, warmup_epochs=0)
    plain, compiled = (build_supernet(3, config, 0) for _ in range(2))
    spent = []
    compile_modules(compiled.cells, lambda part, seconds: spent.append((part, seconds)), "eager")
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = []
    for model in (plain, compiled):
        logits.append(model(images))
        logits[-1].square().sum().backward()
    assert torch.equal(*logits)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    # Each of the three cells has its own shapes, and is compiled once.
    assert [part for part, _ in spent] == ["compilation"] * 3
    assert all(seconds > 0 for _, seconds in spent)

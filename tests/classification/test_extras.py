"""Packages that only some settings need."""

import pytest

from classification.errors import ConfigError
from classification.extras import is_installed, require


def test_a_package_is_known_by_its_name_on_the_index():
    assert is_installed("Pillow")
    assert not is_installed("PIL")  # what is imported, not what is installed


def test_an_absent_package_is_named_with_the_command_that_installs_it():
    require("--as onnx", "export", "numpy", "torch")
    with pytest.raises(ConfigError, match=r"^--as x: needs no-such-package, .*\[export\]'; .*: y$"):
        require("--as x", "export", "numpy", "no-such-package", otherwise="y")

#!/bin/sh
# calflops 0.3.2 cannot be imported after pip install calflops: it needs transformers.
#
# Behaviour: the package declares no dependency on transformers, and its __init__ imports it, also
# to count a convolutional network. The import raises ModuleNotFoundError.
# Seen: No module named 'transformers'.
# Who meets it: whoever installs it to count an image network.
# Here: benchmarks/counting.sh installs transformers beside it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    calflops==0.3.2 torch==2.12.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import importlib.metadata

declared = importlib.metadata.requires("calflops") or []
print(declared)
assert not any(line.startswith("transformers") for line in declared), "it is declared now"
try:
    import calflops
except ModuleNotFoundError as error:
    print(error)
    assert error.name == "transformers", "another module is missing"
else:
    raise AssertionError("it can be imported now")
END

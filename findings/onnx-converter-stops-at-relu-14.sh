#!/bin/sh
# onnx 1.23.2: the version converter takes a Relu no lower than opset 14.
#
# Behaviour: Relu has the versions 1, 6, 13 and 14. The converter has adapters from 13 up to 14 and
# none back, so that a model of one Relu converts from 20 to 14 and raises RuntimeError below.
# Seen: 19 to 14 convert; 13 and 12 raise "No Adapter From Version $14 for Relu".
# Who meets it: whoever converts an exported network for a runtime with an older opset.
# Here: export --as onnx writes the opset that is asked for; the converter is not used.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile \
    onnx==1.23.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
from onnx import TensorProto, helper, version_converter

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
outcome = {}
for version in (19, 17, 14, 13, 12):
    try:
        converted = version_converter.convert_version(model, version)
        outcome[version] = converted.opset_import[0].version
    except RuntimeError as error:
        outcome[version] = str(error).partition("failed: ")[2]
print(outcome)
assert [outcome[v] for v in (19, 17, 14)] == [19, 17, 14], "the conversions to 14 changed"
assert all("No Adapter" in str(outcome[v]) for v in (13, 12)), "it converts below 14 now"
END

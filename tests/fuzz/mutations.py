"""What a person could get wrong in a document: hypothesis strategies that spoil valid ones."""

import copy
import functools
import json

from hypothesis import strategies as st

from classification.models import MODELS
from pipeline.config import PipelineConfig

NUMBERS = [
    0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 64, 100, -1, -7, 10**6, 2**31, 2**32, 2**53, 2**62, 2**63,
    2**64, 10**30, -(2**63), 10**400, 0.0, 0.5, 1.0, 0.1, 1e-300, 5e-324, -0.0, -0.5, 1e10, 1e300,
    2.5, float("inf"), float("-inf"), float("nan"),
]  # fmt: skip
TEXTS = [
    "", " ", "x", "0", "1e5", "null", "true", ".", "..", "/", "../up", "nowhere", "/dev/null",
    "/proc", "x" * 300, "x\0y", "a\nb", "\x1b[2J", "\ud800", "\u202e", "図", "{}", "[", "*a",
    "!!int", "a.b.c", "base.yaml", "data.root", "subset.fraction", "cost", "-", "--", "=", "%s",
    "{0}", "${HOME}",
]  # fmt: skip


@functools.cache
def words():
    """Every word that some setting allows."""
    found = {*MODELS, "supernet"}

    def walk(value):
        if isinstance(value, dict):
            found.update(each for each in value.get("enum", ()) if isinstance(each, str))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(PipelineConfig.model_json_schema())
    return sorted(found)


@functools.cache
def keys():
    """Every key of a config, dotted."""
    schema = PipelineConfig.model_json_schema()
    found = []

    def walk(properties, prefix):
        for name, value in properties.items():
            found.append(prefix + name)
            for option in (value, *value.get("anyOf", ())):
                inner = schema["$defs"].get(option.get("$ref", "").rpartition("/")[2])
                if inner is not None and "properties" in inner:
                    walk(inner["properties"], f"{prefix}{name}.")

    walk(schema["properties"], "")
    return found


def scalars():
    return st.one_of(
        st.sampled_from(NUMBERS),
        st.sampled_from(TEXTS),
        st.deferred(lambda: st.sampled_from(words())),
        st.booleans(),
        st.none(),
        st.integers(-3, 40),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
    )


def values():
    return st.one_of(
        scalars(),
        scalars(),
        st.lists(scalars(), max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "model", "x", "base", "set", ""]), scalars(), max_size=2
        ),
    )


def nudged(value):
    """Values near `value`, which are often as valid as it is."""
    if isinstance(value, bool):
        return st.just(not value)
    if isinstance(value, int):
        near = [value, value + 1, max(value - 1, 0), value * 2]
        return st.sampled_from(near + [float(value)] * (value < 2**63))
    if isinstance(value, float):
        return st.sampled_from([value, value / 2, value * 1.5, min(value * 2, 1.0), 1])
    return st.just(value)


@st.composite
def spoiled(draw, original, most=3, added=()):
    """`original` (dicts, lists, scalars) with up to `most` places deleted, replaced or added to."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, most))):
        parents = [place for place in places(value) if place]
        if not parents:
            break
        parent = draw(st.sampled_from(parents))
        spots = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        spot = draw(st.sampled_from(spots))
        match draw(st.sampled_from([*["nudge"] * 6, *["replace"] * 3, "delete", "add", "repeat"])):
            case "nudge":
                parent[spot] = draw(nudged(parent[spot]))
            case "delete":
                del parent[spot]
            case "replace":
                parent[spot] = draw(values())
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from([*added, "x", "epoch", "kind", "base", ""]))] = draw(
                    values()
                )
            case "repeat" if isinstance(parent, list):
                parent.insert(spot, copy.deepcopy(parent[spot]))
            case _:
                parent[spot] = [parent[spot]]
    return value


def places(value):
    """All containers in a value, itself first."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from places(inner)


@st.composite
def damaged(draw, text):
    """The UTF-8 bytes of `text` with some of them lost, changed or repeated."""
    content = bytearray(text.encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 8)))
        content[start:end] = draw(
            st.one_of(
                st.binary(max_size=4), st.sampled_from([b"{", b"]", b'"', b"\n", b":", b"1e999"])
            )
        )
    return bytes(content)


def as_text(value):
    """JSON, which YAML holds too, with what JSON cannot say as YAML says it."""
    text = json.dumps(value)
    return text.replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf")

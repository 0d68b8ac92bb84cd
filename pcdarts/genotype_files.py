"""Genotypes from outside: a published name, our JSON, or the tuple of a DARTS-family repository.

The tuple is the text of `Genotype(normal=[('sep_conv_3x3', 1), …], normal_concat=range(2, 6), …)`,
alone or in a Python file (Liu et al. 2019). It is parsed and never evaluated.
"""

import ast
import reprlib
from pathlib import Path
from typing import Any

from classification.errors import ArtifactError, ConfigError, did_you_mean
from classification.persistence.untrusted_files import read_regular
from pcdarts.genotype import MAX_BYTES, NUM_INPUTS, NUM_NODES, Genotype
from pcdarts.published_genotypes import GENOTYPES

_FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
_NODES = range(NUM_INPUTS, NUM_INPUTS + NUM_NODES)
_CALL = "Genotype"
_MAX_BITS = 63  # Python refuses to print integers of more than 4,300 digits


def find_genotype(name_or_file: str, key: str = "genotype") -> Genotype:
    """Return the published genotype of that name, or read the file.

    Raises ConfigError, naming `key`, if there is neither; ArtifactError if the file is not a
    genotype of this search space.
    """
    if name_or_file in GENOTYPES:
        return GENOTYPES[name_or_file]
    path = Path(name_or_file)
    if not path.exists():
        raise ConfigError(
            f"{key}: found {name_or_file!r}, which is no published genotype and no file; "
            f"{did_you_mean(name_or_file, GENOTYPES)}allowed: {', '.join(GENOTYPES)}, or a file"
        )
    return read_genotype(path)


def read_genotype(path: Path) -> Genotype:
    """Read a file in our JSON form or in the tuple form.

    Raises ArtifactError, naming the file and the place in it, if it is neither, is larger than
    64 KiB, or holds another search space.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: not a genotype ({error})") from error
    if text.lstrip().startswith("{"):
        return Genotype.load(path)
    return parse_tuple(text, str(path))


def parse_tuple(text: str, where: str) -> Genotype:
    """Parse the only `Genotype(…)` in a Python text.

    Raises ArtifactError, starting with `where`, if there is not one of this search space.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        # A text that nests too deeply for the parser raises one of the last two.
        reason = f" ({error.msg}, line {error.lineno})" if isinstance(error, SyntaxError) else ""
        raise ArtifactError(f"{where}: neither JSON nor Python{reason}") from error
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise ArtifactError(f"{where}: a number of {value.bit_length()} bits")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _builds(node)]
    if len(calls) != 1:
        lines = ", ".join(str(call.lineno) for call in calls)
        raise ArtifactError(
            f"{where}: found {len(calls) or 'no'} {_CALL}(…)"
            f"{f' (lines {lines})' if calls else ''}; allowed: one"
        )
    fields = _fields(calls[0], where)
    for kind in ("normal", "reduce"):
        concat = fields.get(f"{kind}_concat")
        if concat is not None:
            _check_concat(concat, f"{where}: {kind}_concat")
    cells = {kind: _cell(fields[kind], f"{where}: {kind}") for kind in ("normal", "reduce")}
    return Genotype.from_dict(cells, where)


def _builds(call: ast.Call) -> bool:
    """Whether it is `Genotype(…)` or `genotypes.Genotype(…)`."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == _CALL


def _fields(call: ast.Call, where: str) -> dict[str, ast.expr]:
    given = [
        *zip(_FIELDS, call.args, strict=False),
        *((k.arg or "**", k.value) for k in call.keywords),
    ]
    names = [name for name, _ in given]
    wrong = [name for name in names if name not in _FIELDS or names.count(name) > 1]
    missing = [name for name in ("normal", "reduce") if name not in names]
    if wrong or missing or len(call.args) > len(_FIELDS):
        raise ArtifactError(
            f"{where}: line {call.lineno}: found fields {reprlib.repr(names)}; "
            f"allowed: {', '.join(_FIELDS)}"
        )
    return dict(given)


def _cell(value: ast.expr, where: str) -> list[list[Any]]:
    """Convert a list of (operation, source) to the JSON form, a list of nodes."""
    try:
        edges = ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ArtifactError(f"{where}: line {value.lineno}: not a list of constants") from error
    if not isinstance(edges, list | tuple) or len(edges) != 2 * NUM_NODES:
        found = reprlib.repr(edges)
        if isinstance(edges, list | tuple):
            found = "1 edge" if len(edges) == 1 else f"{len(edges)} edges"
        raise ArtifactError(
            f"{where}: found {found}; a cell has {2 * NUM_NODES}, two for each of {NUM_NODES} nodes"
        )
    edges = [list(edge) if isinstance(edge, tuple) else edge for edge in edges]
    return [edges[first : first + 2] for first in range(0, len(edges), 2)]


def _check_concat(value: ast.expr, where: str) -> None:
    """Raise ArtifactError unless the cell's output is the concatenation of its four nodes."""
    found: Any
    try:
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "range":
            found = range(*(ast.literal_eval(argument) for argument in value.args))
            matches = found == _NODES and not value.keywords
        else:
            found = ast.literal_eval(value)
            matches = list(found) == list(_NODES)
    except (ValueError, TypeError, RecursionError, MemoryError):
        found, matches = ast.unparse(value), False
    if not matches:
        raise ArtifactError(
            f"{where}: found {reprlib.repr(found)}; in this search space all nodes are "
            f"concatenated: {_NODES}"
        )

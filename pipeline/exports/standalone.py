"""Extracts the source of given classes and their dependencies as one module without our imports."""

import ast
import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field

_OURS = {"classification", "subsample", "pcdarts", "evaluate", "pipeline"}


@dataclass(frozen=True)
class Source:
    """Import lines of other packages, and our definitions in dependency order."""

    imports: tuple[str, ...]
    body: str


def standalone_source(classes: Iterable[type]) -> Source:
    """Collect what our classes need from all of our modules.

    A definition brings along every name of its module that it mentions, and the comments above it.
    Raises ValueError if two modules use one name for different things, or if a module imports one
    of our modules, or one of our names under another name.
    """
    cutting = _Cutting()
    for each in classes:
        cutting.take(each.__module__, each.__name__)
    return Source(tuple(cutting.imports), "\n\n\n".join(cutting.body))


@dataclass
class _Cutting:
    """What has been extracted so far; `homes` maps each name to its module."""

    imports: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    homes: dict[str, str] = field(default_factory=dict)
    modules: dict[str, "_Module"] = field(default_factory=dict)

    def take(self, home: str, name: str) -> None:
        """Add what `name` means in the module `home`, if anything, after its dependencies."""
        module = self.modules.get(home) or self.modules.setdefault(home, _Module.read(home))
        if name in module.imports:
            source, original = module.imports[name]
            if source.partition(".")[0] not in _OURS:
                self._add(name, source, self.imports, _import_line(source, original, name))
            elif original == name:
                self.take(source, name)
            else:
                raise ValueError(f"{home}: imports {source} as a module or under another name")
        elif name in module.definitions and self.homes.get(name) != home:
            node = module.definitions[name]
            self._claim(name, home)
            for mentioned in sorted({n.id for n in ast.walk(node) if isinstance(n, ast.Name)}):
                self.take(home, mentioned)
            self._add(name, home, self.body, module.text_of(node))

    def _add(self, name: str, home: str, lines: list[str], text: str) -> None:
        self._claim(name, home)
        if text not in lines:
            lines.append(text)

    def _claim(self, name: str, home: str) -> None:
        if self.homes.setdefault(name, home) != home:
            raise ValueError(f"{name} has different meanings in {self.homes[name]} and {home}")


@dataclass(frozen=True)
class _Module:
    """A module's top-level definitions and imports: name → (module, name there)."""

    lines: list[str]
    definitions: dict[str, ast.stmt]
    imports: dict[str, tuple[str, str | None]]

    @classmethod
    def read(cls, name: str) -> "_Module":
        text = inspect.getsource(importlib.import_module(name))
        module = cls(text.splitlines(), {}, {})
        for node in ast.parse(text).body:
            match node:
                case ast.Import():
                    for each in node.names:
                        module.imports[each.asname or each.name] = (each.name, None)
                case ast.ImportFrom(module=str(source)):
                    for each in node.names:
                        module.imports[each.asname or each.name] = (source, each.name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    module.definitions[name] = node
                case ast.Assign() | ast.AnnAssign():
                    for part in ast.walk(node):
                        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                            module.definitions[part.id] = node
        return module

    def text_of(self, node: ast.stmt) -> str:
        """Return a definition's source with its decorators and the comments above it."""
        decorators = getattr(node, "decorator_list", [])
        first = min(part.lineno for part in (node, *decorators)) - 1
        while first and self.lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(self.lines[first : node.end_lineno])


def _import_line(source: str, original: str | None, name: str) -> str:
    alias = "" if name == (original or source) else f" as {name}"
    return f"from {source} import {original}{alias}" if original else f"import {source}{alias}"

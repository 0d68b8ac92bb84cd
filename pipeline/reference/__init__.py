"""Pages of docs/ that are generated: configuration, commands, the tree of modules."""

from pathlib import Path

from pipeline.reference.commands import commands_reference
from pipeline.reference.configuration import config_reference
from pipeline.reference.tree import with_tree

ROOT = Path(__file__).parents[2]


def generated_pages() -> dict[Path, str]:
    """Return every generated page by path; in architecture.md only the tree is generated."""
    docs = ROOT / "docs"
    architecture = docs / "architecture.md"
    return {
        docs / "configuration.md": config_reference(),
        docs / "commands.md": commands_reference(),
        architecture: with_tree(architecture.read_text(), ROOT),
    }

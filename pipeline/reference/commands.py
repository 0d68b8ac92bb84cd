"""docs/commands.md: every command with its help, as `--help` prints it."""

from pipeline.commands import COMMANDS, load_command, summary_of

_COLUMNS = 80
_HEAD = """# Commands

Every command is called as `python run_pipeline.py COMMAND`, from any folder, with
`.venv/bin/python` or after `. .venv/bin/activate`
([paths](recipes.md#running-from-any-folder)).

"""
_NOTES = """
**Stages.** `--until`, `--only` and `--force` take the name of a stage: `scorer`, `scores` or
`baseline`, `subset`, `search`, `retrain`; `probe` with `goal: subset`, which trains a classifier on
the subset instead of searching; `robustness` and `landscape` if the config sets them.

**Stopping and resuming.** Run the same command again. Ctrl-C, SIGTERM, a closed terminal, a full
disk and SIGKILL cost the epoch in progress at most; on a CPU a resumed run ends with the same bytes
as an uninterrupted one ([what is promised](reliability.md)).

**Scripts.** `--quiet` prints errors only. `--json` prints a JSON document on standard output and
messages on standard error. Colours are off where standard output is not a terminal. Exit status:
0 done, 1 work failed, 2 bad input (one line that names the key or the file), 130 stopped by you.

**Completion.** `./run_pipeline.py --install-completion` sets up completion for your shell.

This page is generated from the commands' own help by `make docs`; a test compares the two.
"""


def commands_reference() -> str:
    """Return the page as Markdown."""
    table = [f"| [`{name}`](#{name}) | {summary_of(name)} |\n" for name in COMMANDS]
    helps = [f"\n## {name}\n\n```text\n{_help(name)}\n```\n" for name in COMMANDS]
    head = ["| command | what it does |\n", "| --- | --- |\n"]
    return "".join([_HEAD, *head, *table, _NOTES, *helps])


def _help(name: str) -> str:
    command = load_command(name)
    context = command.make_context(
        f"run_pipeline.py {name}", [], resilient_parsing=True, terminal_width=_COLUMNS
    )
    lines = str(command.get_help(context)).splitlines()
    return "\n".join(line.rstrip() for line in lines)

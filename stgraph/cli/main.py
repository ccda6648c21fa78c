"""The entry point of the commands."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from stgraph.cli.command_table import COMMANDS, GROUPS
from stgraph.errors import InputError, InputTypeError
from stgraph.models.options import nearest_name

__all__ = ["COMMANDS", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The words after ``stgraph``; those of the command line by default.

    Returns:
        int: Exit code: 0, or 2 for input that cannot be used.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        import stgraph

        print(stgraph.__version__)
        return 0
    name = words.pop(0)
    if name in GROUPS and (not words or words[0] in ("-h", "--help")):
        print(_group_overview(name))
        return 0
    if name in GROUPS or (words and f"{name} {words[0]}" in COMMANDS):
        name = f"{name} {words.pop(0)}"
    if name not in COMMANDS:
        return _fail("stgraph", f"unknown command {name!r}{nearest_name(name, COMMANDS)}")
    try:
        options = parse_command(name, words)
        with _shown_notices():
            _load(COMMANDS[name].function)(options)
    except (InputError, InputTypeError, FileNotFoundError, PermissionError, NotADirectoryError) as error:
        return _fail(f"stgraph {name}", str(error))
    except ImportError as error:
        # Ours say which extra to install; those of Python name the module and mean a broken installation.
        if error.name is not None:
            raise
        return _fail(f"stgraph {name}", str(error))
    return 0


def parse_command(name: str, words: Sequence[str]) -> Any:
    """Return the options of a command; a run that is resumed lends its configuration."""
    from stgraph.cli.parser import parse

    command = COMMANDS[name]

    def read(given: Sequence[str]) -> Any:
        return parse(
            _load(command.options),
            given,
            prog=f"stgraph {name}",
            positional=command.positional,
            shortcuts={full.split(".")[-1]: full for full in command.shortcuts},
            summary=command.summary,
            examples=command.examples,
        )

    options = read(words)
    if name.endswith("train") and options.resume:
        from stgraph.tasks.folder import RunFolder, anomaly_output, default_output, reconstruction_output

        output = options.output
        if not output and options.data.path:
            outputs: dict[str, Callable[[Any], str]] = {
                "lightcurve train": reconstruction_output,
                "anomaly train": anomaly_output,
            }
            output = outputs[name](options) if name in outputs else default_output(options.data.path)
        if output and RunFolder(output).is_run:
            options = read(["--config", str(RunFolder(output).config), *words])
    return options


def _overview() -> str:
    lines = ["usage: stgraph COMMAND [options]", "", "Forecasts of measurements at places over time, on graphs.", ""]
    lines += [f"  {name:<10} {command.summary}" for name, command in COMMANDS.items() if " " not in name]
    lines += [f"  {name:<10} {summary}" for name, summary in GROUPS.items()]
    return "\n".join([*lines, "", "stgraph COMMAND --help lists the options of a command."])


def _group_overview(group: str) -> str:
    own = {name: command for name, command in COMMANDS.items() if name.startswith(f"{group} ")}
    lines = [f"usage: stgraph {group} COMMAND [options]", "", f"{GROUPS[group].capitalize()}.", ""]
    lines += [f"  {name.split()[1]:<10} {command.summary}" for name, command in own.items()]
    return "\n".join([*lines, "", f"stgraph {group} COMMAND --help lists the options of a command."])


def _fail(prog: str, message: str) -> int:
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Notices(logging.StreamHandler[TextIO]):
    """Writes to what is standard output at the time."""

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        pass


@contextlib.contextmanager
def _shown_notices() -> Iterator[None]:
    """Show the package's notices and warnings as plain lines."""
    logger, handler = logging.getLogger("stgraph"), _Notices()
    level, formatter = logger.level, warnings.formatwarning
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = formatter
        logger.setLevel(level)
        logger.removeHandler(handler)


def _load(path: str) -> Any:
    module, attribute = path.split(":")
    return getattr(importlib.import_module(module), attribute)

"""From the words of a command line to typed options; torch is not needed for it."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

from stgraph.errors import InputError

__all__ = ["build_parser", "describe_arguments", "expand", "parse"]

T = TypeVar("T")


def parse(
    cls: type[T],
    argv: Sequence[str],
    *,
    prog: str,
    positional: Sequence[str] = (),
    shortcuts: dict[str, str] | None = None,
    summary: str = "",
    examples: str = "",
) -> T:
    """Parse the words after the name of a command.

    Args:
        cls: Dataclass of the options; fields that are dataclasses are groups.
        argv: The words.
        prog: What the help calls the command.
        positional: Options that may be given without their name, in this order.
        shortcuts: Short names of options in groups.
        summary: Text above the help.
        examples: Text below the help.

    Raises:
        InputError: If a word cannot be understood; the message is one line.
    """
    parser = build_parser(cls, prog, positional, shortcuts or {}, summary, examples)
    fields = dict(_fields(cls))
    try:
        found = parser.parse_args(expand(argv, fields, positional, shortcuts or {}))
    except argparse.ArgumentError as error:
        raise InputError(explain(str(error), fields)) from None
    values = found.as_dict()
    values.pop("config", None)
    return _build(cls, values)


def build_parser(
    cls: type[Any], prog: str, positional: Sequence[str], shortcuts: dict[str, str], summary: str, examples: str
) -> ArgumentParser:
    """Make the parser of a dataclass, with help from the docstrings."""
    words = " ".join(f"[{name.split('.')[-1].upper()}]" for name in positional)
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} {words} [options]",
        description=summary,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML or JSON file with options; flags override it")
    groups: dict[str, Any] = {}
    short = {full: name for name, full in shortcuts.items()}
    for name, field in _fields(cls).items():
        group = name.rpartition(".")[0]
        if group not in groups:
            title = (field.owner.__doc__ or "").split("\n")[0].rstrip(".")
            groups[group] = parser.add_argument_group(title)
        text = field.help + (f" (short: --{short[name]})" if name in short else "")
        choices = _choices(field.type)
        text += f" One of {', '.join(choices)}." if choices else ""
        text += f" [{_shown(field.default)}]" if field.default not in (None, "", False) else ""
        # Percent signs are format codes to argparse.
        arguments: dict[str, Any] = {"help": text.replace("%", "%%").replace("``", ""), "default": field.default}
        groups[group].add_argument(f"--{name}", type=field.type, metavar=_metavar(field.type), **arguments)
    return parser


@dataclasses.dataclass
class _Field:
    type: Any
    default: Any
    help: str
    owner: type[Any]


def _fields(cls: type[Any], prefix: str = "") -> dict[str, _Field]:
    """Options by their full name; those of groups come last."""
    hints, texts = typing.get_type_hints(cls), describe_arguments(cls)
    own: dict[str, _Field] = {}
    nested: dict[str, _Field] = {}
    for field in dataclasses.fields(cls):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            nested |= _fields(kind, f"{prefix}{field.name}.")
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        own[prefix + field.name] = _Field(kind, default, texts.get(field.name, ""), cls)
    return {**own, **nested}


def describe_arguments(cls: type[Any]) -> dict[str, str]:
    """Read the ``Args`` of the docstrings of a dataclass and of those it inherits from.

    >>> class Example:
    ...     '''One line.
    ...
    ...     Args:
    ...         size: How large,
    ...             in metres.
    ...     '''
    >>> describe_arguments(Example)
    {'size': 'How large, in metres.'}
    """
    texts: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        _, _, arguments = inspect.cleandoc(owner.__dict__.get("__doc__") or "").partition("Args:")
        name = ""
        for line in arguments.split("\n"):
            match = re.match(r" {4}(\w+): (.*)", line)
            if match:
                name = match[1]
                texts[name] = match[2]
            elif name and line.startswith(" " * 8):
                texts[name] += " " + line.strip()
            elif line.strip():
                break
    return texts


def expand(
    argv: Sequence[str], fields: dict[str, _Field], positional: Sequence[str], shortcuts: dict[str, str]
) -> list[str]:
    """Give every word the form that the parser knows: names to bare words, full names, brackets around lists.

    Files of options come first, so that flags override them wherever they are.

    Raises:
        InputError: If an option is unknown, or its value is missing.
    """
    words: list[str] = []
    files: list[str] = []
    rest = list(positional)
    queue = list(argv)
    while queue:
        word = queue.pop(0)
        if not word.startswith("--"):
            if (word.startswith("-") and not _is_number(word)) or not rest:
                words.append(word)
            else:
                name = rest.pop(0)
                (files if name == "config" and name not in fields else words).append(f"--{name}={word}")
            continue
        name, equals, value = word[2:].partition("=")
        name = shortcuts.get(name, name)
        field = fields.get(name)
        if field is None and name == "config" and (equals or queue):
            files.append(f"--config={value if equals else queue.pop(0)}")
            continue
        if field is None:
            _refuse_unknown(name, fields)
            words.append(word)
            continue
        if field.type in (bool, bool | None) and not equals:
            values = ("true", "false") if field.type is bool else ("true", "false", "null")
            value = queue.pop(0) if queue and queue[0] in values else "true"
            words.append(f"--{name}={value}")
            continue
        if not equals:
            if not queue:
                raise InputError(f"--{name} is the last word; expected a value after it")
            value = queue.pop(0)
        words.append(f"--{name}={_as_list(value) if _is_list(field.type) else value}")
    return [*files, *words]


def _refuse_unknown(name: str, fields: dict[str, _Field]) -> None:
    """Refuse what is no option, none of the parser itself, and no entry of an option that is a dictionary."""
    if name not in ("help", "config", "print_config") and not any(name.startswith(f"{option}.") for option in fields):
        raise InputError(f"unknown option --{name}{_near(name, fields, '--')}")


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-[\d.]+(e[+-]?\d+)?", word) is not None


def _is_list(kind: Any) -> bool:
    return typing.get_origin(kind) is list or any(typing.get_origin(k) is list for k in typing.get_args(kind))


def _as_list(value: str) -> str:
    return value if value.startswith("[") or value in ("null", "None") else f"[{value}]"


def explain(message: str, fields: dict[str, _Field]) -> str:
    """Turn a message of the parser into one line that names what is valid."""
    if match := re.search(r"unrecognized arguments: (\S+)", message):
        word = match[1]
        if not word.startswith("-"):
            return f"do not know what to do with {word!r}"
        return f"unknown option {word.split('=')[0]}{_near(word.split('=')[0].lstrip('-'), fields, '--')}"
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        return f"unknown key {match[1]!r} in the configuration{_near(match[1], fields, '')}"
    if match := re.search(r'Parser key "config": (\w)(.*)', message):
        return f"config: {match[1].lower()}{match[2]}"
    if match := re.search(r'Parser key "([^"]+)"', message):
        value = re.search(r"(?:Given value: |Got value: |given value: )(.*)", message)
        field = fields.get(match[1])
        if field is not None and value is not None:
            return f"{match[1]} is {value[1].strip()}; expected {type_name(field.type)}"
    return re.sub(r"\s+", " ", message).strip()


def type_name(kind: Any) -> str:
    """Name a type for a reader.

    >>> type_name(list[float] | None), type_name(typing.Literal["a", "b"])
    ('list[float] or null', "'a' or 'b'")
    """
    if kind is type(None):
        return "null"
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(repr(a) for a in arguments)
    if typing.get_origin(kind) is list:
        return f"list[{' or '.join(type_name(a) for a in arguments)}]"
    return " or ".join(type_name(a) for a in arguments) if arguments else str(kind.__name__)


def _choices(kind: Any) -> list[str]:
    kinds = [kind, *typing.get_args(kind)]
    return [str(a) for k in kinds if typing.get_origin(k) is typing.Literal for a in typing.get_args(k)]


def _metavar(kind: Any) -> str:
    if _choices(kind):
        return "NAME"
    names = [k for k in (typing.get_args(kind) or (kind,)) if k is not type(None)]
    return "LIST" if _is_list(kind) else "|".join(str(k.__name__).upper() for k in names)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return ", ".join(map(str, default)) if isinstance(default, list) else str(default)


def _near(name: str, names: Iterable[str], dashes: str) -> str:
    candidates = sorted(names)
    last: dict[str, str] = {}
    for candidate in candidates:
        last.setdefault(candidate.split(".")[-1], candidate)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.75)
    if not near:
        near = [last[n] for n in difflib.get_close_matches(name.split(".")[-1], last, n=1)]
    return f"; did you mean {dashes}{near[0]}?" if near else "; --help lists all options"


def _build(cls: type[T], values: dict[str, Any]) -> T:
    """Make a dataclass with its groups from nested dictionaries."""
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        kind = hints[name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            if not isinstance(value, dict):
                raise InputError(f"{name} is {value!r}; expected a group of options")
            arguments[name] = _build(kind, value)
        else:
            arguments[name] = value
    return cls(**arguments)

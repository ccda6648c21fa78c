from __future__ import annotations

import dataclasses
import json
from typing import Literal

import pytest
import yaml

from stgraph.cli.parser import describe_arguments, parse, type_name
from stgraph.errors import InputError


@dataclasses.dataclass
class Inner:
    """The inner part.

    Args:
        size: How large; 50 % more
            is fine.
        shares: Some shares.
        names: Names or numbers.
        kind: Which kind.
    """

    size: int | None = None
    shares: list[float] | None = None
    names: list[int | str] | None = None
    kind: Literal["round", "square"] = "round"


@dataclasses.dataclass
class Outer:
    """All of it.

    Args:
        target: What to use.
        second: What else to use.
        rate: How fast.
        quick: Hurry.
        careful: Take care.
        inner: The inner part.
    """

    target: str = ""
    second: str | None = None
    rate: float = 0.5
    quick: bool = False
    careful: bool = True
    inner: Inner = dataclasses.field(default_factory=Inner)


def read(*words):
    return parse(Outer, words, prog="x", positional=("target", "second"), shortcuts={"size": "inner.size"})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Outer()),
        (["a"], Outer(target="a")),
        (["a", "b"], Outer(target="a", second="b")),
        (["--rate", "2", "a"], Outer(target="a", rate=2.0)),
        (["a", "--rate=-1e-3"], Outer(target="a", rate=-1e-3)),
        (["a", "--rate", "-3", "b"], Outer(target="a", second="b", rate=-3.0)),
        (["--quick", "a"], Outer(target="a", quick=True)),
        (["--quick=true"], Outer(quick=True)),
        (["--careful=false"], Outer(careful=False)),
        (["--careful", "false", "a"], Outer(target="a", careful=False)),
        (["--size", "3"], Outer(inner=Inner(size=3))),
        (["--inner.size=3", "--inner.kind", "square"], Outer(inner=Inner(size=3, kind="square"))),
        (["--inner.shares", "7,1,2"], Outer(inner=Inner(shares=[7.0, 1.0, 2.0]))),
        (["--inner.shares", "[7, 1]"], Outer(inner=Inner(shares=[7.0, 1.0]))),
        (["--inner.names", "3"], Outer(inner=Inner(names=[3]))),
        (["--inner.names=flow,2"], Outer(inner=Inner(names=["flow", 2]))),
        (["--inner.shares", "null"], Outer()),
        (["--second", "--odd"], Outer(second="--odd")),
    ],
)
def test_words(words, expected):
    assert read(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rat", "3"], "unknown option --rat; did you mean --rate?"),
        (["--inner.sise", "3"], "unknown option --inner.sise; did you mean --inner.size?"),
        (["--shares", "3"], "unknown option --shares; did you mean --inner.shares?"),
        (["--xyzzy"], "unknown option --xyzzy; --help lists all options"),
        (["-q"], "unknown option -q; --help lists all options"),
        (["a", "b", "c"], "do not know what to do with 'c'"),
        (["--rate", "fast"], "rate is fast; expected float"),
        (["--inner.size", "1.5"], "inner.size is 1.5; expected int or null"),
        (["--inner.kind", "oval"], "inner.kind is oval; expected 'round' or 'square'"),
        (["--rate"], "--rate is the last word; expected a value after it"),
        (["--quick=maybe"], "quick is maybe; expected bool"),
    ],
)
def test_words_that_cannot_be_used(words, message):
    with pytest.raises(InputError) as error:
        read(*words)
    assert str(error.value) == message


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_configuration_files_and_flags_that_override_them(tmp_path, suffix):
    path = tmp_path / f"c.{suffix}"
    values = {"target": "a", "rate": 2.0, "quick": True, "inner": {"size": 5, "names": ["x", 1]}}
    path.write_text(json.dumps(values) if suffix == "json" else yaml.safe_dump(values))
    assert read("--config", str(path)) == Outer("a", rate=2.0, quick=True, inner=Inner(size=5, names=["x", 1]))
    assert read("--config", str(path), "--inner.size", "7", "b").inner.size == 7
    assert read(f"--config={path}", "b").target == "b"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rat": 1}, "unknown key 'rat' in the configuration; did you mean rate?"),
        ({"inner": {"sise": 1}}, "unknown key 'inner.sise' in the configuration; did you mean inner.size?"),
        ({"inner": 3}, "inner is 3; expected a group of options"),
        ({"inner": {"kind": "oval"}}, "inner.kind is oval; expected 'round' or 'square'"),
        ({"quick": "often"}, "quick is often; expected bool"),
        ([1, 2], "Unexpected config: [1, 2]"),
    ],
)
def test_configurations_that_cannot_be_used(tmp_path, values, message):
    (tmp_path / "c.json").write_text(json.dumps(values))
    with pytest.raises(InputError) as error:
        read("--config", str(tmp_path / "c.json"))
    assert str(error.value) == message


def test_broken_and_missing_configurations(tmp_path):
    (tmp_path / "c.yaml").write_text("inner: [")
    with pytest.raises(InputError, match="Problems parsing config") as error:
        read("--config", str(tmp_path / "c.yaml"))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="does not exist"):
        read("--config", str(tmp_path / "none.yaml"))


def test_the_printed_configuration_can_be_read_again(tmp_path, capsys):
    with pytest.raises(SystemExit):
        read("a", "--inner.names", "x,1", "--quick", "--print_config")
    path = tmp_path / "c.yaml"
    path.write_text(capsys.readouterr().out)
    assert set(yaml.safe_load(path.read_text())) == {f.name for f in dataclasses.fields(Outer)}
    assert read("--config", str(path)) == Outer("a", quick=True, inner=Inner(names=["x", 1]))


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        read("--help")
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "usage: x [TARGET] [SECOND] [options]" in text
    assert "How large; 50 % more is fine. (short: --size)" in text
    assert "Which kind. One of round, square. [round]" in text
    assert "Take care. [on]" in text


def test_arguments_of_the_docstring_are_inherited():
    class Child(Inner):
        """A child.

        Args:
            size: Another text.
        """

    assert describe_arguments(Child)["size"] == "Another text."
    assert describe_arguments(Child)["kind"] == "Which kind."


def test_every_option_of_every_command_is_documented():
    import importlib

    from stgraph.cli.main import COMMANDS
    from stgraph.cli.parser import _fields

    for command in COMMANDS.values():
        module, name = command.options.split(":")
        for option, field in _fields(getattr(importlib.import_module(module), name)).items():
            assert field.help, option


def test_names_of_types():
    assert type_name(list[int | str] | None) == "list[int or str] or null"
    assert type_name(float) == "float"

"""The command that repeats a run and compares every bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stgraph.errors import InputError

if TYPE_CHECKING:
    from stgraph.tasks.reproduce import Reproduction

__all__ = ["ReproduceOptions", "reproduce"]

_SHOWN = 10


@dataclasses.dataclass
class ReproduceOptions:
    """What to repeat.

    Args:
        run: Folder of a run, or of several seeds.
        output: Folder of the repetition, which stays; a temporary one beside the run by default.
        keep: Keep the repetition beside the run, as NAME-repeated.
        device: Where to train, such as "cpu"; as the run by default.
    """

    run: str = ""
    output: str | None = None
    keep: bool = False
    device: str | None = None


def reproduce(options: ReproduceOptions) -> None:
    """Repeat a run from its folder and print whether weights, predictions and metrics are equal bit for bit.

    Raises:
        ReproductionDifference: If they are not.
        InputError: If the run cannot be repeated.
    """
    if not options.run:
        raise InputError("name the folder of a run")
    from stgraph.tasks.reproduce import ReproductionDifference, reproduce_run

    found = reproduce_run(options.run, output=options.output, keep=options.keep, device=options.device)
    print(f"\n{_text(found)}")
    parts = {name for one in found for name, differences in one.parts.items() if differences}
    if parts:
        names = [name for name in found[0].parts if name in parts]
        raise ReproductionDifference(f"the repetition of {options.run} differs in {', '.join(names)}")


def _text(found: Sequence[Reproduction]) -> str:
    from stgraph.cli.tables import format_table

    parts = list(found[0].parts)
    rows = [[one.run.name, *("no" if one.parts[part] else "yes" for part in parts)] for one in found]
    blocks = [format_table(["", *(f"{part} equal" for part in parts)], rows)]
    for one in found:
        lines = [*_differences(one), *_environment(one)]
        if one.repeated is not None:
            lines.append(f"The repetition is in {one.repeated}")
        if lines:
            blocks.append("\n".join([f"{one.run.name}:", *lines] if len(found) > 1 else lines))
    return "\n\n".join(blocks)


def _differences(one: Reproduction) -> list[str]:
    lines = []
    for part, differences in one.parts.items():
        if differences:
            lines.append(f"What differs in the {part}:")
            lines += [f"  {difference}" for difference in differences[:_SHOWN]]
            if len(differences) > _SHOWN:
                lines.append(f"  and {len(differences) - _SHOWN} more")
    return lines


def _environment(one: Reproduction) -> list[str]:
    if one.environment:
        return ["What differs from the environment of the run:", *(f"  {line}" for line in one.environment)]
    return [] if one.equal else ["Nothing that the run recorded of its environment differs."]

"""Running the checks of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch

from stgraph.errors import InputError
from stgraph.testing import axes, module, tracing, values
from stgraph.testing.calls import seeded
from stgraph.testing.case import LayerCase

__all__ = ["CHECKS", "Check", "ContractError", "check_layer", "checks_for", "parametrize_with_checks"]

#: A check raises :class:`ContractError` where the layer of a case does not pass.
Check = Callable[[LayerCase], None]


class ContractError(AssertionError):
    """A layer does not pass a check."""


def _named(check: Check) -> Check:
    """Name layer and check in whatever goes wrong, and let no check depend on random numbers of the caller."""

    @wraps(check)
    def run(case: LayerCase) -> None:
        try:
            with seeded(0):
                check(case)
        except Exception as error:
            came = str(error) if type(error) is AssertionError else f"{type(error).__name__}: {error}"
            raise ContractError(f"{case.name} fails {check.__name__}: {came}") from error

    return run


#: All checks by name, in the order they run.
CHECKS: dict[str, Check] = {
    name: _named(getattr(part, name))
    for part, names in (
        (values, ("check_shape", "check_dtype", "check_autocast", "check_gradient", "check_gradcheck")),
        (values, ("check_gradgradcheck",)),
        (axes, axes.__all__),
        (module, module.__all__),
        (tracing, tracing.__all__),
    )
    for name in names
}


def checks_for(case: LayerCase, *, skipped: bool = False) -> list[tuple[str, Check]]:
    """Return names and checks of what the case claims.

    Args:
        case: The case.
        skipped: Return the checks that the case names in ``skip`` as well.

    Raises:
        InputError: If the case skips a check that does not exist.

    Examples:
        >>> import torch
        >>> from stgraph.testing import LayerCase
        >>> case = LayerCase("ReLU", torch.nn.ReLU, lambda generator: (torch.randn(2, 5, 4, generator=generator),))
        >>> [name for name, check in checks_for(case)][:3]
        ['check_shape', 'check_dtype', 'check_autocast']
        >>> "check_mask" in dict(checks_for(case))
        False
    """
    unknown = set(case.skip) - set(CHECKS)
    if unknown:
        raise InputError(f"{case.name} skips {sorted(unknown)}; expected some of {sorted(CHECKS)}")
    claimed = {
        "check_autocast": torch.float32 in case.dtypes,
        "check_gradcheck": torch.float64 in case.dtypes,
        "check_gradgradcheck": torch.float64 in case.dtypes,
        "check_batch_equals_loop": case.batch_axes > 0,
        "check_empty_batch": case.batch_axes > 0,
        "check_mask": case.mask is not None,
        "check_graph_batch": case.graph_batch,
        "check_permutation_equivariance": case.permutation_equivariant,
    }
    return [
        (name, check)
        for name, check in CHECKS.items()
        if claimed.get(name, True) and (skipped or name not in case.skip)
    ]


def check_layer(case: LayerCase) -> None:
    """Run all checks of a case, for use without pytest.

    Raises:
        ContractError: If the layer does not pass; the message lists all that failed.

    Examples:
        >>> import torch
        >>> from stgraph.testing import LayerCase
        >>> class Scale(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x * x.shape[0]
        >>> case = LayerCase("Scale", Scale, lambda generator: (torch.ones(2, 5, 4),), skip={"check_compile": "slow"})
        >>> check_layer(case)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        stgraph.testing.suite.ContractError: Scale fails ... of ... checks:
        ...
    """
    checks = checks_for(case)
    failed: list[ContractError] = []
    for _, check in checks:
        try:
            check(case)
        except ContractError as error:
            failed.append(error)
    if failed:
        lines = "\n".join(f"- {error}" for error in failed)
        raise ContractError(f"{case.name} fails {len(failed)} of {len(checks)} checks:\n{lines}") from failed[0]


def parametrize_with_checks(cases: Iterable[LayerCase]) -> Any:
    """Make one pytest test of each check of each case, with names such as ``SFE-check_mask``.

    The test function takes ``case`` and ``check``. Checks that a case skips are shown as skipped, with the reason.

    Args:
        cases: The cases.

    Examples:
        >>> import torch
        >>> from stgraph.testing import LayerCase
        >>> case = LayerCase("ReLU", torch.nn.ReLU, lambda generator: (torch.randn(2, 5, 4, generator=generator),))
        >>> @parametrize_with_checks([case])
        ... def test_contract(case, check):
        ...     check(case)
    """
    import pytest  # an import of stgraph.testing must not need it

    parameters = [
        pytest.param(
            case,
            check,
            id=f"{case.name}-{name}",
            marks=[pytest.mark.skip(reason=case.skip[name])] if name in case.skip else [],
        )
        for case in cases
        for name, check in checks_for(case, skipped=True)
    ]
    return pytest.mark.parametrize(("case", "check"), parameters)

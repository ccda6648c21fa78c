"""A contract test suite for layers: describe a layer in a :class:`LayerCase`, and run all checks on it.

With pytest::

    from stgraph.testing import LayerCase, parametrize_with_checks

    CASES = [LayerCase("MyLayer", lambda: MyLayer(4), lambda g: (torch.randn(2, 5, 4, generator=g),), mask="mask")]

    @parametrize_with_checks(CASES)
    def test_my_layer(case, check):
        check(case)

Without it: ``check_layer(CASES[0])``.
"""

from stgraph.testing.case import DEFAULT_TOLERANCES, LayerCase, first_tensor
from stgraph.testing.suite import (
    CHECKS,
    Check,
    ContractError,
    check_layer,
    checks_for,
    parametrize_with_checks,
)

__all__ = [
    "CHECKS",
    "DEFAULT_TOLERANCES",
    "Check",
    "ContractError",
    "LayerCase",
    "check_layer",
    "checks_for",
    "first_tensor",
    "parametrize_with_checks",
]

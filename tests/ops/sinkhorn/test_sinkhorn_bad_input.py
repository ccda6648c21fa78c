"""What cannot be solved is refused, by the name of the argument, before work starts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn import sinkhorn

COST = torch.tensor([[[0.2, 0.7, 0.1], [0.9, 0.3, 0.5]], [[0.4, 0.0, 0.8], [0.6, 0.2, 0.3]]])
A, B = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.5, 0.25])


def with_value(values: Tensor, value: float) -> Tensor:
    values = values.clone()
    values[(0,) * values.dim()] = value
    return values


def refused(error: type[Exception], message: str, cost: object = COST, **arguments: object) -> None:
    with pytest.raises(error, match=message) as caught:
        sinkhorn(cost, **{"eps": 0.1, **arguments})
    # The named errors, and not merely the built-in ones they derive from.
    assert type(caught.value) in (InputError, InputTypeError)


@pytest.mark.parametrize("backend", ["torch", "pot"])
@pytest.mark.parametrize("gradient", ["implicit", "unrolled"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(-0.5, r"cost .*negative.*-0\.5"), (math.nan, "cost .*NaN"), (math.inf, "cost .*inf"), (-math.inf, "cost .*inf")],
)
def test_costs(value: float, message: str, gradient: str, backend: str) -> None:
    refused(InputError, message, with_value(COST, value), gradient=gradient, backend=backend)


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize(
    ("value", "message"), [(-0.25, r"negative.*-0\.25"), (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "inf")]
)
def test_weights(name: str, value: float, message: str) -> None:
    weights = {"a": A, "b": B}
    weights[name] = with_value(weights[name], value)
    for rho in (math.inf, 0.3, 0.0):
        refused(InputError, rf"^{name} .*{message}", **weights, rho=rho)


def test_masses_that_differ_are_both_named() -> None:
    refused(InputError, r"a sums to 2.* b to 1\b", a=torch.ones(2))
    refused(InputError, r"problem 1 .*a sums to 1\b.* b to 0\.75", a=A, b=torch.stack([B, B * 0.75]))
    # A mask that takes mass away from one side only.
    refused(InputError, r"a sums to 0\.5, b to 1\b", a=A, row_mask=torch.tensor([True, False]))
    # Not the balanced problem: any masses.
    for rho in ((math.inf, 0.5), (0.0, math.inf), 0.1):
        assert bool(sinkhorn(COST, torch.ones(2), eps=0.1, rho=rho).converged.all())


@pytest.mark.parametrize("eps", [0, 0.0, -1.0, math.nan, math.inf])
def test_eps(eps: float) -> None:
    refused(InputError, "^eps ", eps=eps)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_numpy_numbers_are_numbers(kind: type) -> None:
    expected = sinkhorn(COST, eps=0.5, rho=2.0, max_iter=200, relaxation=1.5)
    result = sinkhorn(COST, eps=kind(0.5), rho=kind(2.0), max_iter=np.int64(200), tol=kind(1e-5), relaxation=kind(1.5))
    assert torch.equal(result.plan, expected.plan)


@pytest.mark.parametrize("max_iter", [0, -3])
def test_max_iter(max_iter: int) -> None:
    refused(InputError, "max_iter", max_iter=max_iter)


@pytest.mark.parametrize("tol", [-1e-3, math.nan])
def test_tol(tol: float) -> None:
    refused(InputError, "tol", tol=tol)


@pytest.mark.parametrize("relaxation", [0, 2, -1.0, 2.5, math.nan])
def test_relaxation(relaxation: float) -> None:
    refused(InputError, "relaxation", relaxation=relaxation)


@pytest.mark.parametrize(
    "rho", [-1.0, math.nan, (0.1, -0.1), (math.nan, 0.1), (0.1,), (0.1, 0.1, 0.1), (), [1.0, 2.0, 3.0]]
)
def test_rho(rho: object) -> None:
    refused(InputError, "rho", rho=rho)


@pytest.mark.parametrize(
    "setting",
    [
        {"eps": "0.1"}, {"eps": None}, {"eps": torch.tensor(0.1)}, {"rho": None}, {"rho": "inf"}, {"rho": (0.1, None)},
        {"tol": "small"}, {"max_iter": "10"}, {"max_iter": 10.5}, {"max_iter": math.nan}, {"relaxation": "auto"},
    ],
)  # fmt: skip
def test_settings_that_are_no_numbers(setting: dict[str, object]) -> None:
    (name,) = setting
    refused(InputTypeError, f"^{name} ", **setting)


@pytest.mark.parametrize("name", ["gradient", "backend"])
def test_choices(name: str) -> None:
    refused(InputError, rf"{name} is 'other'; expected one of \('", **{name: "other"})


@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0), (2, 0, 0)])
def test_shape_of_cost(shape: tuple[int, ...]) -> None:
    refused(InputError, rf"cost has shape {tuple(shape)}".replace("(", r"\(").replace(")", r"\)"), torch.zeros(shape))


@pytest.mark.parametrize("name", ["a", "b", "row_mask", "col_mask"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, -1), (2, 2, 4)])
def test_shapes_of_weights_and_masks(name: str, shape: tuple[int, ...]) -> None:
    size = 2 if name in ("a", "row_mask") else 3
    shape = tuple(size if length == -1 else length for length in shape)
    dtype = torch.bool if "mask" in name else torch.float32
    # The mask of 3 problems does not broadcast to the 2 of the cost.
    refused(InputError, rf"^{name} has shape", **{name: torch.ones(shape, dtype=dtype)})


@pytest.mark.parametrize(
    "init",
    [
        (),
        (torch.zeros(2),),
        (torch.zeros(2), torch.zeros(3), torch.zeros(3)),
        (torch.zeros(3), torch.zeros(2)),
        (torch.zeros(2), torch.zeros(4)),
        (torch.zeros(3, 2), torch.zeros(3)),
        (torch.zeros(1, 2, 2), torch.zeros(3)),
        (torch.tensor(0.0), torch.zeros(3)),
    ],
)
def test_shapes_of_init(init: tuple[Tensor, ...]) -> None:
    refused(InputError, "init", init=init)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_of_init(value: float) -> None:
    refused(InputError, "init", init=(torch.zeros(2), with_value(torch.zeros(3), value)), max_iter=20)


@pytest.mark.parametrize("value", [COST.numpy(), COST.long(), COST.bool(), COST.cfloat()])
def test_type_of_cost(value: object) -> None:
    refused(InputTypeError, "^cost ", value)


@pytest.mark.parametrize("value", [COST.tolist(), None, 1.0])
def test_cost_without_dtype(value: object) -> None:
    refused(InputTypeError, "^cost ", value)


@pytest.mark.parametrize("value", [[0.5, 0.5], np.array([0.5, 0.5]), torch.ones(2, dtype=torch.int64), 0.5])
def test_type_of_weights(value: object) -> None:
    refused(InputTypeError, "^a ", a=value)


@pytest.mark.parametrize("value", [[True] * 3, np.ones(3, dtype=bool), torch.ones(3), torch.ones(3, dtype=torch.uint8)])
def test_type_of_masks(value: object) -> None:
    refused(InputTypeError, "^col_mask ", col_mask=value)


@pytest.mark.parametrize("value", [[0.0, 0.0], None, torch.zeros(2, dtype=torch.int64)])
def test_type_of_init(value: object) -> None:
    refused(InputTypeError, "init", init=(value, torch.zeros(3)))


def test_problem_without_weight_is_named() -> None:
    mask = torch.tensor([[True, True], [False, False]])
    refused(InputError, "^a has no positive weight in problem 1 ", row_mask=mask)
    refused(InputError, "^b has no positive weight in problem 0 ", col_mask=torch.zeros(3, dtype=torch.bool))
    refused(InputError, "^a has no positive weight in problem 0 ", a=torch.zeros(2), b=torch.zeros(3))
    # Weights and a mask that leave nothing together.
    refused(InputError, "^a has no positive weight", a=torch.tensor([0.0, 1.0]), row_mask=torch.tensor([True, False]))
    for rho in (0.0, 0.5, (math.inf, 0.0)):
        refused(InputError, "^b has no positive weight in problem 1 ", b=torch.stack([B, 0 * B]), rho=rho)


def test_masked_values_are_not_looked_at() -> None:
    cost, weights = COST.clone(), torch.tensor([1.0, math.nan])
    cost[:, 1] = -math.inf
    result = sinkhorn(cost, weights, B, eps=0.1, row_mask=torch.tensor([True, False]))
    torch.testing.assert_close(result.plan[:, 0], B.expand(2, 3))

"""The benchmark of Sinkhorn and the table of agreement with POT: their rules, and a tiny run of each."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
import torch

from benchmarks import pot_agreement
from benchmarks import sinkhorn as benchmark
from benchmarks.sinkhorn import OWN, Case, Run


@pytest.fixture
def small() -> Case:
    """Two problems that converge in a blink."""
    return Case(2, 9, 5, 0.08)


def test_cost_is_a_distance_plus_one_minus_a_cosine(small: Case) -> None:
    cost = small.cost()
    assert cost.shape == (2, 9, 5)
    assert cost.dtype == torch.float64
    assert 0 <= cost.min() <= cost.max() <= 2 + math.sqrt(8)
    torch.testing.assert_close(cost, small.cost(), rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in benchmark.peers() if "GeomLoss" not in name])
def test_every_solver_keeps_to_the_error_and_finds_the_same_plan_and_gradient(small: Case, name: str) -> None:
    cost, peer = small.cost(), benchmark.peers()[name]
    own = benchmark.calibrate(OWN, cost, small.eps, 30.0)
    run = benchmark.calibrate(peer, cost, small.eps, 30.0)
    assert not own.failure
    assert not run.failure
    assert 0 < run.error <= benchmark.ERROR
    torch.testing.assert_close(run.result, own.result, rtol=0, atol=1e-4)
    if peer.gradient:
        gradient = benchmark.gradient_step(peer, small, cost, run.setting)()
        torch.testing.assert_close(
            gradient, benchmark.gradient_step(OWN, small, cost, own.setting)(), rtol=0, atol=1e-3
        )


def test_marginal_error_is_the_worst_l1_error() -> None:
    plan = torch.full((2, 4, 2), 1 / 8)
    assert benchmark.marginal_error(plan) == 0
    plan[1, 0, 0] += 0.1
    assert benchmark.marginal_error(plan) == pytest.approx(0.1)
    plan[1, 0, 1] -= 0.1  # the row is right again, both columns are not
    assert benchmark.marginal_error(plan) == pytest.approx(0.2)


def test_limits_of_time_and_memory_turn_into_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, large = Run(), Run()
    start = time.perf_counter()
    benchmark.timed(slow, lambda: [time.sleep(0.01) for _ in range(3000)], 0.2)
    assert time.perf_counter() - start < 10
    assert "not finished" in slow.failure
    monkeypatch.setattr(benchmark, "MEMORY", 2**28)
    benchmark.timed(large, lambda: torch.ones(2**28), 30.0)
    assert "GiB" in large.failure
    assert slow.median == large.median == math.inf


def test_memory_step_does_as_many_iterations_as_it_is_told() -> None:
    steps = [benchmark.memory_step(gradient, 12, 1, 9, 5) for gradient in ("implicit", "unrolled")]
    assert all(torch.isfinite(step()).all() for step in steps)


@pytest.mark.slow
def test_quick_run_writes_a_row_for_each_pass(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        benchmark.main(["--quick", "--repeats", "1", "--threads", "1", "--results", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    rows = json.loads((tmp_path / "sinkhorn.json").read_text())["rows"]
    assert [row["target_faster"] for row in rows] == [2.0, 4.0]
    assert "POT sinkhorn_log, torch" in (tmp_path / "sinkhorn.txt").read_text()


def test_agreement_with_pot_is_far_below_1e_6_wherever_pot_converges() -> None:
    table = pot_agreement.agreement(sizes=((8, 5),), values=(0.5, 0.1))
    differences, failed = pot_agreement.largest(table)
    assert max(differences) < 1e-7
    assert failed == 0
    assert all(row[-2] == "yes" for row in table[1:])
    assert {row[4] for row in table[1:]} == {
        'backend="pot"',
        "ot.sinkhorn",
        "ot.bregman.sinkhorn_log",
        "ot.solve_batch",
        "ot.unbalanced.sinkhorn_unbalanced",
    }


def test_transport_cost_approaches_that_of_exact_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pot_agreement, "FALLING", (0.32, 0.08, 0.02))
    apart = [float(row[-2]) for row in pot_agreement.limit()[1:]]
    assert apart == sorted(apart, reverse=True)
    assert 0 < apart[-1] < 0.01

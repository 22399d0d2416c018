from __future__ import annotations

import itertools
import math
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    DIVERGING,
    PAPER,
    TRIVIAL,
    UNIFORM,
    farthest,
    forward_mode,
    instance,
    march,
    mean_square,
    pull_back,
    random_fields,
    random_params,
    relative,
    small_start,
)

import gsimplicit as gs
from gsimplicit import equations, models
from gsimplicit.marching import KERNELS, TORCH, Backend, compiled, cpu, kernels, plain, reference
from gsimplicit.marching.checkpoints import segments
from gsimplicit.threads import each

GRIDS = [((128, 128), 20), ((96, 64), 60), ((17, 5), 100), ((5, 17), 100), ((3, 3), 40)]


def stepped(fields: torch.Tensor, params: gs.Params, steps: int) -> torch.Tensor:
    """`steps` steps of the equations in plain torch."""
    for _ in range(steps):
        fields = equations.step(fields, params)
    return fields


def unrolled(fields: torch.Tensor, params: gs.Params, steps: int, *, checkpointed: bool = True) -> torch.Tensor:
    """`steps` steps by the reference."""
    return reference.unroll(params.model, fields, params.tensor(), steps, checkpointed=checkpointed)


def exactly(fields: torch.Tensor, params: gs.Params, steps: int) -> torch.Tensor:
    """Fields after `steps` steps of the kernel."""
    return march(fields, params, tol=0.0, max_steps=steps).fields


# ---------------------------------------------------------------------------------------------------------------------
# Kernel against reference
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "steps"), GRIDS)
def test_kernel_equals_reference_to_rounding(grid: tuple[int, int], steps: int) -> None:
    fields, params = random_fields(2, grid), random_params(2)
    end = exactly(fields, params, steps)
    assert end[:, 1].amin() > 0.05  # alive
    assert farthest(end, stepped(fields, params, steps)) < 1e-14


@pytest.mark.parametrize(("grid", "steps"), GRIDS)
def test_float32_kernel_stays_within_float32_rounding_of_the_float64_reference(
    grid: tuple[int, int], steps: int
) -> None:
    """Below 1e-6 over these steps: coefficients formed in float64 and rounded once do not drift."""
    fields, params = random_fields(2, grid).float(), random_params(2)
    found = exactly(fields, params, steps)
    assert found.dtype == torch.float32
    assert farthest(found, stepped(fields.double(), params, steps)) < 1e-5


def test_reference_march_of_fixed_steps_is_repeated_stepping_bitwise() -> None:
    fields, params = random_fields(2, (8, 7)), random_params(2)
    out, steps, change = reference.march(params.model, fields, params.tensor(), 0.0, 25, 4, 1.0)
    assert torch.equal(out, stepped(fields, params, 25))
    assert steps.tolist() == [25, 25]
    assert torch.equal(change, (out - stepped(fields, params, 24)).abs().flatten(1).amax(dim=1))


def test_rest_state_stays_put_exactly() -> None:
    fields = gs.initial_state(grid=(16, 20), noise=0.0, box=None)
    for start in (fields, fields.float()):
        assert torch.equal(exactly(start, gs.Params(*PAPER), 500), start)


def test_march_commutes_with_translations_bitwise() -> None:
    fields, params = random_fields(1, (16, 20)), random_params(1)
    assert torch.equal(
        exactly(fields.roll((3, -7), (-2, -1)), params, 300), exactly(fields, params, 300).roll((3, -7), (-2, -1))
    )


def test_march_leaves_its_input_alone_and_detaches() -> None:
    fields = random_fields(1, (8, 8)).requires_grad_()
    before = fields.detach().clone()
    end = exactly(fields, gs.Params(*PAPER), 10)
    assert torch.equal(fields.detach(), before)
    assert not end.requires_grad


# ---------------------------------------------------------------------------------------------------------------------
# Batches
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_batch_equals_a_loop_bitwise(dtype: torch.dtype, tol: float) -> None:
    fields, params = gs.initial_state(count=5, grid=(24, 32)).to(dtype), random_params(5)
    together = march(fields, params, tol=tol, max_steps=700)
    for i in range(5):
        alone = march(fields[i : i + 1], params[i], tol=tol, max_steps=700)
        for name in ("fields", "steps", "change"):
            assert torch.equal(getattr(together, name)[i : i + 1], getattr(alone, name)), name
        assert torch.equal(together.status(tol)[i : i + 1], alone.status(tol))


def test_same_march_twice_gives_the_same_bits() -> None:
    fields, params = gs.initial_state(count=2, grid=(24, 32)), random_params(2)
    assert torch.equal(exactly(fields, params, 500), exactly(fields, params, 500))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("tol", [0.0, 1e-4])
@pytest.mark.parametrize("engine", ["kernel", "reference"])
def test_diverging_instance_leaves_the_bits_of_the_others(engine: str, tol: float) -> None:
    fields = gs.initial_state(count=3, grid=(24, 24))
    params = gs.Params.stack(torch.tensor([PAPER, DIVERGING, TRIVIAL], dtype=torch.float64))

    def run(chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if engine == "reference":
            return reference.march(params.model, fields[chosen], params[chosen].tensor(), tol, 1000, 64, 1.0)
        end = march(fields[chosen], params[chosen], tol=tol, max_steps=1000)
        assert (end.status(tol) == gs.Status.DIVERGED).tolist() == [i == 1 for i in chosen]
        return end.fields, end.steps, end.change

    out, steps, change = run([0, 1, 2])
    assert torch.isnan(change).tolist() == [False, True, False]
    assert not torch.isfinite(out[1]).all()
    for i in (0, 2):
        alone = run([i])
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip((out, steps, change), alone, strict=True))


def test_diverging_float32_instance_is_seen_too() -> None:
    end = march(gs.initial_state(grid=(24, 24)).float(), gs.Params(*DIVERGING), tol=1e-4, max_steps=5000)
    assert end.status(1e-4).tolist() == [gs.Status.DIVERGED]


@pytest.mark.usefixtures("two_threads")
def test_each_keeps_the_order_and_passes_errors_on() -> None:
    assert each(lambda i: i * i, range(50)) == [i * i for i in range(50)]
    assert each(lambda i: i, []) == []

    def work(i: int) -> int:
        if i == 7:
            raise ZeroDivisionError
        return i

    with pytest.raises(ZeroDivisionError):
        each(work, range(20))


@pytest.mark.parametrize("threads", [1, 2])
def test_each_uses_the_threads_torch_may_use(threads: int, two_threads: None) -> None:
    torch.set_num_threads(threads)
    both = threading.Barrier(threads)

    def work(_: int) -> int:
        both.wait(timeout=60)  # passed only when as many items are under way at once
        return threading.get_ident()

    seen = set(each(work, range(4 * threads)))
    assert len(seen) == threads
    assert (threading.get_ident() in seen) == (threads == 1)


# ---------------------------------------------------------------------------------------------------------------------
# Stop test
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_every", [1, 7, 64, 100, 5000])
def test_stop_is_the_first_test_below_tol_and_change_is_of_the_last_step(check_every: int) -> None:
    fields, params, tol = small_start(24, 5), gs.Params(*TRIVIAL), 1e-4
    end = march(fields, params, tol=tol, max_steps=50_000, check_every=check_every)
    steps = int(end.steps[0])
    assert end.status(tol).tolist() == [gs.Status.SETTLED]
    assert steps % check_every == 0
    assert end.change[0] < tol
    assert torch.equal(end.fields, exactly(fields, params, steps))
    assert end.change[0].item() == farthest(end.fields, exactly(fields, params, steps - 1))
    for earlier in range(check_every, steps, check_every):
        if steps - earlier <= 3 * check_every:
            assert farthest(exactly(fields, params, earlier), exactly(fields, params, earlier - 1)) >= tol


@pytest.mark.parametrize("check_every", [100, 2**62, 10**20])
def test_more_steps_between_tests_than_a_word_holds_are_those_to_the_cap(check_every: int) -> None:
    fields, params = small_start(24, 5), gs.Params(*TRIVIAL)
    end = march(fields, params, tol=1e-30, max_steps=100, check_every=check_every)
    assert torch.equal(end.fields, exactly(fields, params, 100))
    assert end.steps.tolist() == [100]


@pytest.mark.parametrize("max_steps", [2**62, 10**20])
def test_a_cap_nobody_waits_for_does_not_keep_a_march_from_its_stop(max_steps: int) -> None:
    fields, params = small_start(24, 5), gs.Params(*TRIVIAL)
    end = march(fields, params, tol=1e-4, max_steps=max_steps)
    assert end.steps.tolist() == march(fields, params, tol=1e-4, max_steps=50_000).steps.tolist()


def test_the_kernel_counts_to_the_largest_cap() -> None:
    fields = small_start(8, 2)[0].numpy()
    pair = compiled._states(compiled._packed(fields), 2)
    recipe, p = compiled._prepared(instance(UNIFORM), fields.dtype)
    last = compiled.LONGEST
    n, change, _ = kernels.march(recipe, pair, 0, p, compiled._schedules(8), 0.0, last - 3, last, last, last)
    assert n == last
    assert np.isfinite(change)


def test_stop_between_tests_is_seen_at_the_cap() -> None:
    fields, params = small_start(24, 5), gs.Params(*TRIVIAL)
    first = int(march(fields, params, tol=1e-4, max_steps=50_000, check_every=1).steps[0])
    end = march(fields, params, tol=1e-4, max_steps=first + 1, check_every=10_000)
    assert end.status(1e-4).tolist() == [gs.Status.SETTLED]
    assert end.steps.tolist() == [first + 1]
    end = march(fields, params, tol=1e-4, max_steps=first - 1, check_every=10_000)
    assert end.status(1e-4).tolist() == [gs.Status.UNSTEADY]
    assert end.steps.tolist() == [first - 1]
    assert end.change[0] >= 1e-4


@pytest.mark.parametrize("max_steps", [1, 63, 64, 65, 1000, compiled.CHUNK, 2 * compiled.CHUNK + 3])
@pytest.mark.parametrize("check_every", [1, 64])
def test_cap_is_met_exactly_where_nothing_settles(max_steps: int, check_every: int) -> None:
    fields, params = small_start(32, 8), gs.Params(*PAPER)
    end = march(fields, params, tol=1e-12, max_steps=max_steps, check_every=check_every)
    assert end.status(1e-12).tolist() == [gs.Status.UNSTEADY]
    assert end.steps.tolist() == [max_steps]
    before = exactly(fields, params, max_steps - 1) if max_steps > 1 else fields
    assert end.change[0].item() == farthest(end.fields, before)


@pytest.mark.parametrize(
    "max_steps", [1, 2, 100, compiled.CHUNK - 1, compiled.CHUNK, compiled.CHUNK + 1, 3 * compiled.CHUNK + 17]
)
def test_tol_zero_marches_exactly_max_steps_also_across_kernel_calls(max_steps: int) -> None:
    fields, params = small_start(28, 9), gs.Params(*PAPER)
    end = march(fields, params, tol=0.0, max_steps=max_steps)
    assert end.status(0.0).tolist() == [gs.Status.FIXED]
    assert end.steps.tolist() == [max_steps]
    half = max_steps // 2
    again = exactly(exactly(fields, params, half) if half else fields, params, max_steps - half)
    assert torch.equal(end.fields, again)


def test_tol_zero_goes_on_at_a_state_that_no_longer_changes() -> None:
    fields = gs.initial_state(grid=(8, 8), noise=0.0, box=None)
    end = march(fields, gs.Params(*PAPER), tol=0.0, max_steps=300)
    assert (end.steps.item(), end.status(0.0).item(), end.change.item()) == (300, gs.Status.FIXED, 0.0)


def test_reference_march_stops_each_instance_by_its_own_test() -> None:
    fields = small_start(28, 9, count=3)
    params = gs.Params.stack(torch.tensor([TRIVIAL, UNIFORM, PAPER], dtype=torch.float64))
    out, steps, change = reference.march(params.model, fields, params.tensor(), 1e-4, 640, 16, 1.0)
    assert len(set(steps.tolist())) == 3
    assert steps[2] == 640
    assert (change < 1e-4).tolist() == [True, True, False]
    for i in range(3):
        assert steps[i] % 16 == 0
        alone = reference.march(params.model, fields[i : i + 1], params[i].tensor(), 1e-4, 640, 16, 1.0)
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip((out, steps, change), alone, strict=True))
        assert torch.equal(out[i : i + 1], stepped(fields[i : i + 1], params[i], int(steps[i])))


# ---------------------------------------------------------------------------------------------------------------------
# Adjoint
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "steps"), [((128, 128), 8), ((17, 5), 100), ((5, 17), 37), ((3, 3), 40), ((8, 8), 1)])
def test_adjoint_kernel_equals_torch_autograd(grid: tuple[int, int], steps: int) -> None:
    fields, params = random_fields(1, grid)[0], random_params(1)
    cotangents = random_fields(3, grid, seed=1) - 0.5
    found, found_initial = pull_back(fields, params, steps, cotangents)
    expected, expected_initial = pull_back(fields, params, steps, cotangents, by=TORCH)
    assert found.shape == (3, 4)
    assert found_initial.shape == (3, 2, *grid)
    for c in range(3):
        assert relative(found[c], expected[c]) < 2e-13
        assert relative(found_initial[c], expected_initial[c]) < 2e-13


def test_reference_adjoint_equals_autograd_without_checkpoints() -> None:
    fields, params, cotangents = random_fields(1, (9, 6)), random_params(1), random_fields(2, (9, 6), seed=1) - 0.5
    start, values = fields.clone().requires_grad_(), params.tensor().requires_grad_()
    end = reference.unroll(models.gray_scott, start, values, 40, checkpointed=False)
    found, found_initial = pull_back(fields[0], params, 40, cotangents, by=TORCH)
    for c in range(2):
        expected = torch.autograd.grad(end, (values, start), cotangents[c : c + 1], retain_graph=True)
        assert relative(found[c : c + 1], expected[0]) < 1e-14
        assert relative(found_initial[c : c + 1], expected[1]) < 1e-14


def test_checkpointed_unrolling_gives_the_same_fields_bitwise() -> None:
    fields, params = random_fields(2, (9, 6)), random_params(2)
    assert torch.equal(unrolled(fields, params, 40), unrolled(fields, params, 40, checkpointed=False))
    assert torch.equal(unrolled(fields, params, 40), stepped(fields, params, 40))


@pytest.mark.parametrize("by", [KERNELS, TORCH], ids=["kernel", "reference"])
def test_adjoint_of_no_steps_is_the_identity(by: Backend) -> None:
    fields, params, cotangents = random_fields(1, (6, 5))[0], random_params(1), random_fields(2, (6, 5), seed=1)
    gradient, initial = pull_back(fields, params, 0, cotangents, by=by)
    assert gradient.tolist() == [[0.0] * 4] * 2
    assert torch.equal(initial, cotangents)


def test_adjoint_of_several_losses_equals_one_at_a_time_bitwise() -> None:
    fields, params, cotangents = random_fields(1, (9, 6))[0], random_params(1), random_fields(3, (9, 6), seed=1) - 0.5
    together = pull_back(fields, params, 50, cotangents)
    for c in range(3):
        alone = pull_back(fields, params, 50, cotangents[c : c + 1])
        assert torch.equal(together[0][c : c + 1], alone[0])
        assert torch.equal(together[1][c : c + 1], alone[1])


def test_adjoint_is_linear_in_the_cotangent() -> None:
    fields, params, a = random_fields(1, (9, 6))[0], random_params(1), random_fields(2, (9, 6), seed=1) - 0.5
    both, parts = pull_back(fields, params, 50, a.sum(dim=0)[None]), pull_back(fields, params, 50, a)
    assert relative(both[0][0], parts[0].sum(dim=0)) < 1e-13
    assert relative(both[1][0], parts[1].sum(dim=0)) < 1e-13


def test_adjoint_passes_the_dot_product_test_against_forward_mode() -> None:
    """<y, dX/dp q + dX/dX0 x> = <p^T y, q> + <X0^T y, x>, with the left side by forward mode through the reference."""
    fields, params, steps = random_fields(1, (10, 12)), random_params(1), 120
    x, y = (random_fields(1, (10, 12), seed=s) - 0.5 for s in (1, 2))
    q = torch.tensor([[0.3, -0.2, 0.05, 0.1]], dtype=torch.float64)

    def end(t: torch.Tensor) -> torch.Tensor:
        return reference.unroll(models.gray_scott, fields + t * x, params.tensor() + t * q, steps, checkpointed=False)

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    forward = float((forward_mode(end, zero, one) * y).sum())
    gradient, initial = pull_back(fields[0], params, steps, y)
    assert forward == pytest.approx(float((gradient * q).sum() + (initial * x[0]).sum()), rel=1e-12)


def test_taylor_remainder_of_mean_square_is_of_second_order() -> None:
    fields, steps = small_start(28, 9), 300
    point = torch.tensor([PAPER], dtype=torch.float64)
    direction = torch.tensor([[0.3, -0.2, 0.05, 0.1]], dtype=torch.float64)

    def loss(h: float) -> float:
        return mean_square(exactly(fields, gs.Params.stack(point + h * direction), steps)[:, 1]).item()

    end = exactly(fields, gs.Params.stack(point), steps)
    cotangent = torch.stack([torch.zeros(28, 28), 2 * end[0, 1] / 28**2])[None]
    gradient, _ = pull_back(fields[0], gs.Params.stack(point), steps, cotangent)
    slope = float((gradient * direction).sum())
    sizes = [2.0**-n for n in range(14, 19)]
    remainders = [abs(loss(h) - loss(0.0) - h * slope) for h in sizes]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(remainders)]
    assert all(abs(order - 2) < 0.01 for order in orders), orders


def test_float32_adjoint_is_that_of_float64_to_float32_rounding() -> None:
    fields, params, cotangents = random_fields(1, (16, 12))[0], random_params(1), random_fields(1, (16, 12), seed=1)
    expected, _ = pull_back(fields, params, 100, cotangents)
    found, initial = pull_back(fields.float(), params, 100, cotangents)
    assert found.dtype == torch.float64
    assert initial.dtype == torch.float32
    assert relative(found, expected) < 5e-5


# ---------------------------------------------------------------------------------------------------------------------
# Checkpoints
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [*range(60), 99, 100, 101, 2000, 17_793, 10**6])
def test_segments_cover_all_steps_once_with_about_the_square_root_of_them(steps: int) -> None:
    plan = segments(steps)
    ends = [s.first + s.length for s in plan]
    assert [s.first for s in plan] == [0, *ends][: len(plan)]
    assert (ends[-1] if plan else 0) == steps
    root = math.isqrt(steps)
    assert all(1 <= s.length <= root + 1 for s in plan)
    assert all(s.length == plan[0].length for s in plan[:-1])
    assert len(plan) <= root + 1


# ---------------------------------------------------------------------------------------------------------------------
# Devices
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_march_and_adjoint_on_cuda_agree_with_the_cpu() -> None:
    fields, params, cotangents = random_fields(2, (32, 48)), random_params(2), random_fields(1, (32, 48), seed=1) - 0.5
    there = march(fields.cuda(), params, tol=0.0, max_steps=100)
    assert there.fields.is_cuda
    assert farthest(there.fields.cpu(), exactly(fields, params, 100)) < 2e-14
    found, found_initial = pull_back(fields[0].cuda(), params[0], 50, cotangents.cuda())
    expected, expected_initial = pull_back(fields[0], params[0], 50, cotangents)
    assert relative(found.cpu(), expected) < 1e-12
    assert relative(found_initial.cpu(), expected_initial) < 1e-12


def test_kernel_takes_read_only_arrays() -> None:
    start = random_fields(1, (8, 8))[0].numpy()
    start.setflags(write=False)
    end, steps, _ = cpu.march(instance(PAPER), start, 0.0, 10, 64)
    assert steps == 10
    assert np.isfinite(end).all()


@pytest.mark.parametrize("engine", [cpu, plain], ids=["kernel", "reference"])
def test_an_instance_that_fails_stops_the_others_between_two_steps(engine: Any, two_threads: None) -> None:
    fields, equations = small_start(32, 8)[0].numpy(), instance(PAPER)
    begun, stopped = threading.Event(), []

    def work(i: int) -> None:
        if i == 0:
            begun.wait(30)
            raise KeyboardInterrupt
        begun.set()
        try:
            engine.march(equations, fields, 0.0, 10**9, 64)  # an hour
        except cpu.Stopped as error:
            stopped.append(error)
            raise

    with pytest.raises(KeyboardInterrupt):
        each(work, [0, 1])
    assert len(stopped) == 1


def test_the_gradient_of_20000_steps_at_full_size_fits_in_100_megabytes() -> None:
    fields, cotangent = gs.initial_state()[0].numpy(), np.full((1, 2, 128, 128), 1e-4)
    cpu.pull_back(instance(PAPER), fields, 10, cotangent)  # compiled outside what is measured
    tracemalloc.start()
    try:
        cpu.pull_back(instance(PAPER), fields, 20_000, cotangent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6


def test_what_stood_in_marching_before_works_with_a_warning() -> None:
    import gsimplicit.marching as room
    from gsimplicit.marching import KERNELS

    params, fields = gs.Params.preset("paper"), gs.initial_state(grid=(8, 9), box=gs.Box(half=2)).double()
    seeds = torch.rand(2, *fields.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = {}
    for name in ("march", "pull_back", "push_forward"):
        with pytest.warns(DeprecationWarning, match=rf"gsimplicit.marching.{name} is the method {name} of"):
            found[name] = getattr(room, name)
    count = torch.tensor([5])
    former, now = found["march"](fields, params, tol=0.0, max_steps=5), KERNELS.march(params, fields, 0.0, 5, 64, 1.0)
    assert torch.equal(former.fields, now.fields)
    assert former.status.tolist() == [gs.Status.FIXED]
    gradient, initial = KERNELS.pull_back(params, fields, count, seeds[:, None], 1.0)
    assert torch.equal(found["pull_back"](fields[0], params, 5, seeds)[0], gradient[:, 0])
    assert torch.equal(found["pull_back"](fields[0], params, 5, seeds)[1], initial[:, 0])
    assert torch.equal(
        found["push_forward"](fields[0], params, 5)[1], KERNELS.push_forward(params, fields, count, 1.0)[1][0]
    )
    with pytest.raises(AttributeError, match="has no attribute 'pull'"):
        _ = room.pull

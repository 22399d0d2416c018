"""Formulas: what tracing makes of a function, that nothing changes its values, and that derivatives are right."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gsimplicit as gs
from gsimplicit.marching import KERNELS, TORCH
from gsimplicit.marching.cpu import UntracedWarning
from gsimplicit.models.differentiation import derivative, is_number, minus, negative, over, plus, times, total
from gsimplicit.models.expression import Graph, Symbol, UntraceableError
from gsimplicit.models.operations import FUNCTIONS
from gsimplicit.models.program import Program, apart

X, Y = torch.tensor([0.3, 1.7, 2.9], dtype=torch.float64), torch.tensor([1.1, 0.2, 4.3], dtype=torch.float64)


def traced(function: Any, *names: str) -> tuple[Graph, Any]:
    graph = Graph()
    return graph, function(*(graph.leaf(n) for n in names or ("x", "y")))


def run(node: Symbol, *values: Any) -> Any:
    return Program.of([node], ["x", "y"][: len(values)]).run(values)[0]


# ---------------------------------------------------------------------------------------------------------------------
# Tracing
# ---------------------------------------------------------------------------------------------------------------------


def test_operations_keep_the_order_in_which_they_were_written() -> None:
    for function, text in [
        (lambda x, y: x - 2 * y + x * x, "((x - (2.0 * y)) + (x * x))"),
        (lambda x, y: 1 - (x + (y + 1)), "(1.0 - (x + (y + 1.0)))"),
        (lambda x, y: -x / 3 + (+y), "((neg(x) / 3.0) + y)"),
        (lambda x, y: 2 - x + (3 / y) * 0, "((2.0 - x) + ((3.0 / y) * 0.0))"),
        (lambda x, y: np.float64(2) * x + torch.tensor(3.0) * y, "((2.0 * x) + (3.0 * y))"),
    ]:
        assert repr(traced(function)[1]) == text


def test_a_formula_gives_the_bits_of_the_function_it_was_traced_from() -> None:
    def function(x: Any, y: Any) -> Any:
        return (x * y - 0.1 * x) / (1.3 + y * y) - x**3 / 7 + 0 * y + 1 * x + (x - x) + y**0

    node = traced(function)[1]
    assert torch.equal(run(node, X, Y), function(X, Y))
    assert run(node, 0.3, 1.1) == function(0.3, 1.1)


def test_equal_nodes_are_one() -> None:
    graph, (a, b) = traced(lambda x, y: (x * y + 1, (x * y + 1) * (x * y)))
    assert b.args[0] is a
    assert len(graph) == 6  # x, y, x y, 1, their sum, the product
    assert graph.leaf("x") is graph.leaf("x")
    assert graph.number(2) is graph.number(2.0)
    assert graph.number(0.0) is not graph.number(-0.0)


@pytest.mark.parametrize("n", [*range(-5, 18), 31, 64])
def test_integer_powers_are_multiplications_and_the_same_however_they_are_run(n: int) -> None:
    node = traced(lambda x: x**n, "x")[1]
    operations = [op for op, _ in Program.of([node], ["x"]).steps]
    assert set(operations) <= {"*", "/"}
    assert len(operations) <= 2 * max(1, abs(n)).bit_length()
    torch.testing.assert_close(run(node, X) if n else torch.ones(3, dtype=X.dtype), X**n, rtol=4e-15, atol=0)
    if n:
        assert run(node, X).tolist() == run(node, X.numpy()).tolist() == [run(node, x) for x in X.tolist()]


def test_other_powers_are_roots_and_powers() -> None:
    for exponent, op in ((0.5, "sqrt"), (1.5, "pow"), (-0.5, "pow"), (65, "pow"), (2.0, "*"), (np.int64(2), "*")):
        assert traced(lambda x, e=exponent: x**e, "x")[1].op == op
    node = traced(lambda x, y: x**y)[1]
    np.testing.assert_allclose(run(node, X, Y), X**Y, rtol=1e-15)
    np.testing.assert_allclose(run(traced(lambda x: 2**x, "x")[1], X), 2**X, rtol=1e-15)
    assert run(traced(lambda x: 2**x, "x")[1], 3.0) == 8.0


def test_switches_have_derivatives_where_they_are_steep_and_where_they_are_zero() -> None:
    """A sigmoid far below its threshold, and Hill's function at 0 in its exponent."""
    graph = Graph()
    x, y = graph.leaf("x"), graph.leaf("y")
    steep = torch.sigmoid(2000 * (x - 0.5))
    assert run(derivative(steep, x), 0.0, 0.0) == 0
    assert run(derivative(steep, x), 0.5, 0.0) == pytest.approx(500)
    at = torch.tensor([0.0, 1e-20, 1e-9, 0.3, 2.0], dtype=torch.float64, requires_grad=True)
    n = torch.full((5,), 2.5, dtype=torch.float64, requires_grad=True)
    hill = x**y / (1 + x**y)
    expected = torch.autograd.grad((at**n / (1 + at**n)).sum(), (at, n))
    for leaf, slope in zip((x, y), expected, strict=True):
        np.testing.assert_allclose(run(derivative(hill, leaf), at.detach(), n.detach()), slope, rtol=1e-12, atol=1e-300)
    assert run(derivative(hill, y), 0.0, 2.5) == 0


def test_what_overflows_shows_in_the_value_and_warns_nobody() -> None:
    node = traced(lambda x, y: np.exp(x) / (np.exp(x) - np.exp(y)))[1]
    with np.errstate(all="raise"):
        assert math.isnan(run(node, 1e4, 1e4))
        assert np.isnan(run(node, np.full(3, 1e4), np.full(3, 1e4))).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_known_as_torch_numpy_and_methods_have_them(name: str) -> None:
    graph = Graph()
    x = graph.leaf("x")
    assert getattr(torch, name)(x) is getattr(np, name)(x) is getattr(x, name)()
    np.testing.assert_allclose(run(x.__getattr__(name)(), X), getattr(torch, name)(X), rtol=1e-15)
    assert run(x.__getattr__(name)(), 0.7) == getattr(np, name)(0.7)


def test_functions_of_torch_and_numpy_that_are_arithmetic_are_taken_for_it() -> None:
    graph = Graph()
    x, y = graph.leaf("x"), graph.leaf("y")
    for made, expected in [
        (torch.add(x, y), x + y),
        (torch.sub(x, 2), x - 2),
        (torch.mul(2, x), 2 * x),
        (torch.true_divide(x, y), x / y),
        (torch.neg(x), -x),
        (torch.square(x), x * x),
        (torch.pow(x, 3), x**3),
        (torch.reciprocal(x), 1.0 / x),
        (torch.rsub(x, 2), 2 - x),
        (np.subtract(2, x), 2 - x),
        (np.multiply(x, y), x * y),
        (np.negative(x), -x),
        (np.square(x), x * x),
        (x.mul(y), x * y),
        (x.pow(2), x * x),
        (x.square(), x * x),
    ]:
        assert made is expected
    np.testing.assert_allclose(run(torch.sigmoid(x), X), torch.sigmoid(X), rtol=3e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quotients_and_roots_on_tensors_are_correctly_rounded(dtype: torch.dtype) -> None:
    """torch has `3 * (1 / x)` for `3 / x`, and its roots may be a unit off in the last place."""
    a = torch.from_numpy(np.exp(np.random.default_rng(0).normal(size=4000) * 9)).to(dtype)
    exact = a.numpy()
    assert np.array_equal(run(traced(lambda x: 3 / x, "x")[1], a), np.asarray(3, exact.dtype) / exact)
    assert np.array_equal(run(traced(lambda x: x / 3, "x")[1], a), exact / np.asarray(3, exact.dtype))
    assert np.array_equal(run(traced(torch.sqrt, "x")[1], a), np.sqrt(exact))
    x = a.clone().requires_grad_()
    run(traced(lambda x: 3 / x + torch.sqrt(x), "x")[1], x).sum().backward()
    torch.testing.assert_close(
        x.grad, -3 / a**2 + 0.5 / a.sqrt(), rtol=1e-3 if dtype == torch.float32 else 1e-12, atol=0
    )
    ends = torch.tensor([0.0, math.inf, 1e-300, 1e300, -1.0], dtype=torch.float64)
    np.testing.assert_allclose(run(traced(torch.sqrt, "x")[1], ends), ends.sqrt(), rtol=1e-15)


def test_numbers_are_computed_at_once() -> None:
    graph = Graph()
    two, x = graph.number(2), graph.leaf("x")
    assert ((two * 3 - 1) / 4).value == 1.25
    assert (two**0.5).value == math.sqrt(2)
    assert graph.node("tanh", two).value == np.tanh(2.0)
    assert (two / 0).op == "/"  # no number: left for whatever computes
    assert run(two / 0 + x, torch.ones(2)).tolist() == [math.inf, math.inf]
    assert run(two / 0 + x, 1.0) == math.inf
    assert math.isnan(run(x / x, 0.0))


class Unlike:
    """Something that is no number."""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, y: x if x > y else y, "compares"),
        (lambda x, y: x if x == 0 else y, "compares"),
        (lambda x, y: x if x != y else y, "compares"),
        (lambda x, y: max(x, y), "compares"),
        (lambda x, y: x in (0.0, y), "compares"),
        (lambda x, y: x and y, "branches"),
        (lambda x, y: x if not x else y, "branches"),
        (lambda x, y: math.exp(x), "compares"),
        (lambda x, y: float(x), "compares"),
        (lambda x, y: range(x), "compares"),
        (lambda x, y: x[0], "takes a value apart"),
        (lambda x, y: sum(x), "takes a value apart"),
        (lambda x, y: torch.where(x > 0, x, y), "compares"),
        (lambda x, y: torch.relu(x), "calls torch's relu"),
        (lambda x, y: torch.roll(x, 1), "calls torch's roll"),
        (lambda x, y: torch.exp_(x), "calls torch's exp_"),
        (lambda x, y: torch.add(x, y, alpha=2), "calls torch's add"),
        (lambda x, y: torch.add(torch.ones(3), x), "combines"),
        (lambda x, y: np.ones(3) * x, "combines"),
        (lambda x, y: np.floor(x), "calls numpy.floor"),
        (lambda x, y: x.mean(), "asks a value for 'mean'"),
        (lambda x, y: x.shape, "asks a value for 'shape'"),
        (lambda x, y: x.requires_grad_(), "asks a value for 'requires_grad_'"),
    ],
)
def test_what_is_no_formula_is_refused(function: Any, words: str) -> None:
    with pytest.raises(UntraceableError, match=words):
        traced(function)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x + "1",
        lambda x, y: x % 2,
        lambda x, y: x * True,
        lambda x, y: torch.ones(3) * x,
    ],
)
def test_python_refuses_the_rest(function: Any) -> None:
    with pytest.raises(TypeError):
        traced(function)


def test_a_loop_without_end_is_given_up_and_symbols_of_two_traces_do_not_meet() -> None:
    def endless(x: Any, y: Any) -> Any:
        n = 1.0
        while True:
            x, n = x * y + n, n + 1

    with pytest.raises(UntraceableError, match="more than 10000 operations"):
        traced(endless)
    kept = []

    def keeps(x: Any, y: Any) -> Any:
        kept.append(x)
        return kept[0] * y

    traced(keeps)
    with pytest.raises(UntraceableError, match="two traces meet"):
        traced(keeps)


def misspelt(u: Any, v: Any, a: Any) -> Any:
    return a - u, nowhere * v  # type: ignore[name-defined] # noqa: F821


def unbound(u: Any, v: Any, a: Any) -> Any:
    if a is None:
        made = u
    return a - u, made


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (misspelt, NameError, "name 'nowhere' is not defined"),
        (unbound, UnboundLocalError, "made"),
        (lambda u, v, a: (a - u, torch.expp(v)), TypeError, "AttributeError: module 'torch' has no attribute 'expp'"),
        (lambda u, v, a: (a - u, {}["k"]), TypeError, "KeyError: 'k'"),
    ],
)
def test_mistakes_in_a_reaction_are_told_when_the_model_is_made(function: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        gs.Model.of(function)


def test_another_number_of_rates_is_an_error_and_no_fallback() -> None:
    for function, count in (
        (lambda u, v, a: (u, v, a), "3"),
        (lambda u, v, a: u, "Symbol"),
        (lambda u, v, a: (u,), "1"),
    ):
        with pytest.raises(TypeError, match=f"one rate a species, 2 of them, got {count}") as caught:
            gs.Model.of(function)
        assert not isinstance(caught.value, UntraceableError)


def test_rates_may_be_numbers() -> None:
    model = gs.Model.of(lambda u, v, a: (a - u, 0), name="constant")
    state = gs.steady_state(
        model.params(Du=0.1, Dv=0.1, a=0.5), torch.rand(1, 2, 4, 4), tol=0.0, max_steps=3, backend=TORCH
    )
    assert state.fields.shape == (1, 2, 4, 4)


def test_the_fallback_is_said_once_a_model_and_gives_the_numbers_of_the_formula() -> None:
    def branching(u: Any, v: Any, a: Any) -> Any:
        return torch.where(u == u, a - u + u * u * v, u), 0.9 - u * u * v

    params = {"Du": 0.1, "Dv": 0.2, "a": 0.1}
    formula = gs.Model.of(lambda u, v, a: (a - u + u * u * v, 0.9 - u * u * v), name="formula").params(**params)
    other = gs.Model.of(branching).params(**params)
    assert "compares" in other.model.untraced
    assert not formula.model.untraced
    start = torch.rand(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    with pytest.warns(
        UntracedWarning, match=r"the reaction of branching is no formula .*\(the formula compares values\)"
    ):
        found = gs.steady_state(other, start, tol=0.0, max_steps=40, dt=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.steady_state(other, start, tol=0.0, max_steps=2, dt=0.1)
    expected = gs.steady_state(formula, start, tol=0.0, max_steps=40, dt=0.1, backend=TORCH)
    torch.testing.assert_close(found.fields, expected.fields, rtol=1e-13, atol=0)


def test_a_reaction_that_writes_into_what_it_gets_changes_nothing() -> None:
    def scribbling(u: Any, v: Any, a: Any) -> Any:
        rate = a - u
        u.mul_(0)
        return rate, u

    model = gs.Model.of(scribbling, name="scribbling")
    x = [torch.ones(3, 3, dtype=torch.float64), torch.ones(3, 3, dtype=torch.float64)]
    assert model.pointwise.value(x, [0.1, 0.1, 0.5])[0].tolist() == (-0.5 * torch.ones(3, 3)).tolist()
    arrays = [np.ones((3, 3)), np.ones((3, 3))]
    model.pointwise.jacobian(arrays, [0.1, 0.1, 0.5])
    assert all((a == 1).all() for a in (*x, *arrays))


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives and programs, on drawn formulas
# ---------------------------------------------------------------------------------------------------------------------

LEAVES = ("x", "y", "z")
SMOOTH = ("tanh", "sin", "cos", "exp")


def formulas(depth: int = 4) -> st.SearchStrategy[Any]:
    """Nested tuples: leaves, numbers and operations whose values stay moderate."""
    leaf = st.one_of(st.sampled_from(LEAVES), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.25]))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from("+-*"), inner, inner),
            st.tuples(st.just("/"), inner, inner),
            st.tuples(st.just("neg"), inner),
            st.tuples(st.just("power"), inner, st.integers(0, 4)),
            st.tuples(st.sampled_from(["root", "hill", "log"]), inner),
            st.tuples(st.sampled_from(SMOOTH), inner),
        ),
        max_leaves=12,
    )


def built(tree: Any, leaves: dict[str, Any], f: Any) -> Any:
    """A formula computed on tensors, or traced; denominators and arguments of roots are kept above 1."""
    if isinstance(tree, str):
        return leaves[tree]
    if isinstance(tree, float):
        return tree + 0 * leaves["x"]
    op, *rest = tree
    if op == "power":
        return built(rest[0], leaves, f) ** rest[1]
    args = [built(r, leaves, f) for r in rest]
    if op in ("+", "-", "*"):
        return {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}[op](*args)
    if op == "/":
        return args[0] / (1.5 + f("sin", args[1]))
    if op == "neg":
        return -args[0]
    bounded = 1.5 + f("sin", args[0])
    if op == "root":
        return f("sqrt", bounded)
    if op == "hill":
        return bounded**1.3
    if op == "log":
        return f("log", bounded)
    return f(op, f("tanh", args[0]))


def on_tensors(name: str, x: Any) -> Any:
    return getattr(torch, name)(x)


def on_symbols(name: str, x: Any) -> Any:
    return x.graph.node(name, x)


@settings(max_examples=150, deadline=None)
@given(formulas(), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_derivatives_of_drawn_formulas_are_those_of_autograd(tree: Any, at: list[float]) -> None:
    graph = Graph()
    symbols = {name: graph.leaf(name) for name in LEAVES}
    node = built(tree, symbols, on_symbols)
    first = [derivative(node, symbols[n]) for n in LEAVES]
    second = derivative(first[0], symbols["y"])
    values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in at]
    tensors = dict(zip(LEAVES, values, strict=True))
    expected = built(tree, tensors, on_tensors) + 0 * sum(values)
    if not abs(expected.item()) < 1e8:
        return
    slopes = torch.autograd.grad(expected, values, create_graph=True)
    bend = torch.autograd.grad(slopes[0] + 0 * sum(values), values, materialize_grads=True)[1]
    program = Program.of([node, *first, second], LEAVES)
    found = program.run([v.detach() for v in values])
    scale = 1 + max(abs(s.item()) for s in (expected, *slopes, bend))
    for a, b in zip(found, (expected, *slopes, bend), strict=True):
        assert abs(float(a) - b.item()) <= 1e-11 * scale


@settings(max_examples=100, deadline=None)
@given(formulas(), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_the_algebra_of_derivatives_changes_no_value(tree: Any, at: list[float]) -> None:
    """Zeros, ones and signs are dropped; nothing else is."""
    graph = Graph()
    a = built(tree, {n: graph.leaf(n) for n in LEAVES}, on_symbols)
    b, zero, one, minus_one = graph.leaf("x") + 2, graph.number(0), graph.number(1), graph.number(-1)
    pairs = [
        (plus(a, zero), a), (plus(zero, a), a), (minus(a, zero), a), (times(a, one), a), (times(one, a), a),
        (over(a, one), a), (negative(negative(a)), a), (times(minus_one, a), -a), (minus(zero, a), -a),
        (plus(a, -b), a - b), (plus(-b, a), a - b), (minus(a, -b), a + b), (times(-a, b), -(a * b)),
        (times(-a, -b), a * b), (over(-a, b), -(a / b)), (total([zero, a, b], graph), a + b),
    ]  # fmt: skip
    found = Program.of([x for pair in pairs for x in pair], LEAVES).run(at)
    for left, right in zip(found[::2], found[1::2], strict=True):
        assert left == right or (math.isnan(left) and math.isnan(right))
    assert is_number(times(a, zero), 0)
    assert over(zero, b) is zero


@settings(max_examples=100, deadline=None)
@given(formulas(), st.lists(st.floats(0.25, 2), min_size=3, max_size=3))
def test_programs_give_the_same_bits_on_tensors_arrays_and_numbers(tree: Any, at: list[float]) -> None:
    """Of + - * /, roots and powers by multiplication; other functions are whose they are."""

    def rational(tree: Any) -> bool:
        return not isinstance(tree, tuple) or (
            tree[0] in ("+", "-", "*", "neg", "power") and all(map(rational, tree[1:]))
        )

    if not rational(tree):
        return
    graph = Graph()
    symbols = {n: graph.leaf(n) for n in LEAVES}
    node = built(tree, symbols, on_symbols)
    node = (node / (symbols["y"] + 0.3) + symbols["x"] ** 7).graph.node("sqrt", node * node + 0.1) / 3
    program = Program.of([node, derivative(node, symbols["x"])], LEAVES)
    numbers = program.run(at)
    arrays = program.run([np.full((2, 3), v) for v in at])
    tensors = program.run([torch.full((5,), v, dtype=torch.float64) for v in at])
    for n, a, t in zip(numbers, arrays, tensors, strict=True):
        assert (np.asarray(a) == n).all()
        assert (np.asarray(t) == n).all()
    single = program.run([torch.full((5,), v, dtype=torch.float32) for v in at])
    again = program.run([np.full((5,), v, dtype=np.float32) for v in at])
    for s, a in zip(single, again, strict=True):
        assert np.array_equal(np.broadcast_to(s, 5), np.broadcast_to(a, 5))


def test_parts_that_depend_on_parameters_alone_are_taken_out() -> None:
    _, (f, g) = traced(lambda x, p: (x * (1 - 4 * p) + p, 2 * x + (1 - 4 * p)), "x", "p")
    (a, b), parts = apart([f, g], {"p"})
    assert [repr(part) for part in parts] == ["p", "(1.0 - (4.0 * p))"]
    assert [repr(a), repr(b)] == ["((x * c1) + c0)", "((2.0 * x) + c1)"]
    constants = Program.of(parts, ["p"]).run([0.16])
    found = Program.of([a, b], ["x", "c0", "c1"]).run([0.3, *constants])
    assert found == Program.of([f, g], ["x", "p"]).run([0.3, 0.16])


def test_programs_of_one_function_have_one_text_and_of_others_another() -> None:
    def text(function: Any) -> str:
        return Program.of([traced(function)[1]], ["x", "y"]).text

    assert text(lambda x, y: x * y + 1) == text(lambda a, b: a * b + 1.0)
    texts = [text(f) for f in (lambda x, y: x * y, lambda x, y: y * x, lambda x, y: x + y, lambda x, y: x * y + 1)]
    assert len(set(texts)) == 4


def test_the_key_of_steps_does_not_depend_on_what_was_differentiated_before() -> None:
    def reaction(u: Any, v: Any, a: Any) -> Any:
        return a - u * u * v, a * torch.exp(-v) + u**3

    def key(*before: str) -> str:
        model = gs.Model.of(reaction, name="mine")
        x, p, d = [0.5, 0.4], [0.1, 0.2, 0.3], [1.0, 2.0]
        for name in before:
            getattr(model.pointwise, name)(x, p, *{"second": (d, d), "mixed": (d,)}.get(name, ()))
        steps = [model.steps(dt) for dt in (1.0, 0.5)]
        assert None not in steps
        return " ".join(one.key for one in steps if one is not None)

    first = key()
    assert key("second") == key("mixed", "slopes") == key("second_slopes", "jacobian") == first


def test_amounts_and_the_larger_and_smaller_of_two_are_formulas_with_the_derivatives_of_torch() -> None:
    graph = Graph()
    x, y = graph.leaf("x"), graph.leaf("y")
    assert abs(x) is torch.abs(x) is np.abs(x) is x.abs() is np.fabs(x)
    assert torch.maximum(x, y) is np.maximum(x, y) is x.maximum(y)
    at = torch.tensor([-0.5, 0.0, 0.3, 0.7, 2.0], dtype=torch.float64, requires_grad=True)
    other = torch.tensor([0.5, 0.0, 0.3, 0.2, -2.0], dtype=torch.float64, requires_grad=True)
    for function in (
        lambda x, y: x.abs() * y,
        lambda x, y: x.maximum(y) * x,
        lambda x, y: x.minimum(y) ** 2 + y,
    ):
        node, value = function(x, y), function(at, other)
        assert torch.equal(run(node, at.detach(), other.detach()), value)
        np.testing.assert_array_equal(run(node, at.detach().numpy(), other.detach().numpy()), value.detach().numpy())
        for leaf, slope in zip((x, y), torch.autograd.grad(value.sum(), (at, other)), strict=True):
            assert torch.equal(run(derivative(node, leaf), at.detach(), other.detach()) + 0 * slope, slope)
    assert run(torch.maximum(x, y), 0.3, 0.7) == 0.7
    assert run(np.minimum(0.5, x), 0.3) == 0.3


def test_a_formula_by_numpys_functions_is_made_without_a_warning() -> None:
    def reaction(u: Any, v: Any, a: Any) -> Any:
        return a * np.sin(u) - v, np.maximum(u - 0.4, 0.0) - np.exp(-v)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert not gs.Model.of(reaction).untraced
    assert not told


@pytest.mark.parametrize("width", [7, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernels_have_the_bits_of_torch_for_them(width: int, dtype: torch.dtype) -> None:
    def reaction(u: Any, v: Any, a: Any, b: Any) -> Any:
        made = np.maximum(u - 0.4, 0.0) * abs(v)
        return np.minimum(a, u) - made, b * made - np.minimum(0.5, v)

    model = gs.Model.of(reaction)
    assert not model.untraced
    params = model.params(Du=0.1, Dv=0.2, a=0.5, b=0.6)
    draws = torch.Generator().manual_seed(0)
    fields = torch.randn(1, 2, 5, width, dtype=torch.float64, generator=draws).to(dtype)
    seeds = torch.randn(1, 1, 2, 5, width, dtype=torch.float64, generator=draws).to(dtype)
    steps = torch.tensor([9])
    ends = [by.march(params, fields, 0.0, 9, 9, 0.1).fields for by in (KERNELS, TORCH)]
    assert torch.equal(*ends)
    for found in zip(*(by.push_forward(params, fields, steps, 0.1) for by in (KERNELS, TORCH)), strict=True):
        torch.testing.assert_close(*found, rtol=1e-5 if dtype == torch.float32 else 1e-13, atol=1e-6)
    for found in zip(*(by.pull_back(params, fields, steps, seeds, 0.1) for by in (KERNELS, TORCH)), strict=True):
        torch.testing.assert_close(*found, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=1e-6)
    lost = fields.clone()
    lost[0, 0, 2, 3] = torch.nan
    assert bool(KERNELS.march(params, lost, 0.0, 1, 1, 0.1).fields[0, :, 2, 3].isnan().all())

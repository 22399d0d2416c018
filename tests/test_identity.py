"""What a store knows a function or an object by: code and values wherever they are reached, or a refusal."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import decimal
import fractions
import functools
import os
import pathlib
import random
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.identity import content, identity, origins

CALL = "def __call__(self, v): return self.w() * v.mean((-2, -1))"
USES = "def loss(v): return mine.helper(v)"
HELPER = "def helper(v): return {x} * v.mean((-2, -1))\n"

KINDS = {
    "function of an imported module": (HELPER, f"import mine\n{USES}"),
    "module of a package": (HELPER, "import pkg.sub\ndef loss(v): return pkg.sub.helper(v)", "pkg/sub.py"),
    "module taken from a package": (HELPER, "from pkg import sub\ndef loss(v): return sub.helper(v)", "pkg/sub.py"),
    "module under another name": (HELPER, "import pkg.sub as s\ndef loss(v): return s.helper(v)", "pkg/sub.py"),
    "function imported by name": (HELPER, "from mine import helper as h\ndef loss(v): return h(v)"),
    "module imported inside": (HELPER, "def loss(v):\n    import mine\n    return mine.helper(v)"),
    "module of a package imported inside": (
        HELPER, "def loss(v):\n    import pkg.sub\n    return pkg.sub.helper(v)", "pkg/sub.py"),
    "module imported inside under another name": (
        HELPER, "def loss(v):\n    import pkg.sub as s\n    return s.helper(v)", "pkg/sub.py"),
    "function imported inside": (HELPER, "def loss(v):\n    from mine import helper\n    return helper(v)"),
    "module imported inside, used by a function inside": (
        HELPER, "def loss(v):\n    import mine as m\n    def inner(x): return m.helper(x)\n    return inner(v)"),
    "module imported inside and handed on": (
        HELPER, "def loss(v):\n    import mine\n    return (lambda m: getattr(m, 'helper'))(mine)(v)"),
    "module imported by text": (
        HELPER, "import importlib\ndef loss(v): return importlib.import_module('mine').helper(v)"),
    "getattr of a module": (HELPER, "import mine\nN = 'helper'\ndef loss(v): return getattr(mine, N)(v)"),
    "globals by text": (HELPER, "from mine import helper\ndef loss(v): return globals()['hel' + 'per'](v)"),
    "eval": (HELPER, "from mine import helper\ndef loss(v): return eval('hel' + 'per')(v)"),
    "dictionary of a module": (HELPER, "import mine\ndef loss(v): return mine.__dict__['helper'](v)"),
    "module held in a dictionary": (HELPER, "import mine\nM = {'a': mine}\ndef loss(v): return M['a'].helper(v)"),
    "module in a closure": (
        HELPER, "def make():\n    import mine\n    def loss(v): return mine.helper(v)\n    return loss\nloss = make()"),
    "module as a default": (HELPER, "import mine\ndef loss(v, m=mine): return m.helper(v)"),
    "two modules away": (
        "W = {x}\n", "import other\ndef loss(v): return other.helper(v)", "mine.py",
        {"other.py": "import mine\ndef helper(v): return mine.W * v.mean((-2, -1))\n"}),
    "global of a module set at run time": (
        "W = 1.0\ndef helper(v): return W * v.mean((-2, -1))\n", f"import mine\nmine.W = {{x}}\n{USES}"),
    "function of a module replaced at run time": (
        "def helper(v): return v.mean((-2, -1))\n",
        f"import mine\ndef other(v): return {{x}} * v.mean((-2, -1))\nmine.helper = other\n{USES}"),
    "base class": (f"class Base:\n    def w(self): return {{x}}\n    {CALL}\n",
                   "from mine import Base\nclass Mine(Base): pass\nloss = Mine()"),
    "base of a base": (f"class A:\n    def w(self): return {{x}}\nclass B(A): pass\nclass Base(B):\n    {CALL}\n",
                       "from mine import Base\nloss = Base()"),
    "super": (f"class A:\n    def w(self): return {{x}}\nclass Base(A):\n    def w(self): return super().w()\n"
              f"    {CALL}\n",
              "from mine import Base\nloss = Base()"),
    "metaclass": (f"class Meta(type):\n    @property\n    def weight(cls): return {{x}}\nclass Base(metaclass=Meta):\n"
                  f"    def w(self): return type(self).weight\n    {CALL}\n", "from mine import Base\nloss = Base()"),
    "class attribute set at run time": (
        f"class Mine:\n    a = 1.0\n    def w(self): return self.a\n    {CALL}\n",
        "from mine import Mine\nMine.a = {x}\nloss = Mine()"),
    "method replaced at run time": (
        f"class Mine:\n    def w(self): return 1.0\n    {CALL}\n",
        "from mine import Mine\nMine.w = lambda self: {x}\nloss = Mine()"),
    "attribute of an object": (
        f"class Mine:\n    def w(self): return self.a\n    {CALL}\n",
        "from mine import Mine\nloss = Mine()\nloss.a = {x}"),
    "property over a global": (f"W = {{x}}\nclass Mine:\n    @property\n    def p(self): return W\n"
                               f"    def w(self): return self.p\n    {CALL}\n", "from mine import Mine\nloss = Mine()"),
    "static method": (f"class Mine:\n    @staticmethod\n    def w(): return {{x}}\n    {CALL}\n",
                      "from mine import Mine\nloss = Mine()"),
    "class method": (f"class Mine:\n    @classmethod\n    def w(cls): return {{x}}\n    {CALL}\n",
                     "from mine import Mine\nloss = Mine()"),
    "bound method": ("class Mine:\n    def loss(self, v): return {x} * v.mean((-2, -1))\n",
                     "from mine import Mine\nloss = Mine().loss"),
    "descriptor": (f"class D:\n    def __get__(self, o, t): return lambda: {{x}}\nclass Mine:\n    w = D()\n"
                   f"    {CALL}\n",
                   "from mine import Mine\nloss = Mine()"),
    "cached property": (f"import functools\nW = {{x}}\nclass Mine:\n    @functools.cached_property\n"
                        f"    def p(self): return W\n    def w(self): return self.p\n    {CALL}\n",
                        "from mine import Mine\nloss = Mine()"),
    "partial method": (f"import functools\nclass Mine:\n    def f(self, a): return a\n"
                       f"    w = functools.partialmethod(f, {{x}})\n    {CALL}\n",
                       "from mine import Mine\nloss = Mine()"),
    "slots": (f"class Mine:\n    __slots__ = ('a',)\n    def w(self): return self.a\n    {CALL}\n",
              "from mine import Mine\nloss = Mine()\nloss.a = {x}"),
    "lru_cache over a global": (
        "import functools\nW = {x}\n@functools.lru_cache\ndef w(): return W\n",
        "from mine import w\ndef loss(v): return w() * v.mean((-2, -1))"),
    "cache on a method": (f"import functools\nclass Mine:\n    @functools.cache\n    def w(self): return {{x}}\n"
                          f"    {CALL}\n",
                          "from mine import Mine\nloss = Mine()"),
    "partial": ("def f(v, a): return a * v.mean((-2, -1))\n",
                "import functools, mine\nloss = functools.partial(mine.f, a={x})\nloss.__name__ = 'loss'"),
    "wrapper with the name of what it wraps": (
        "import functools\ndef double(f):\n    @functools.wraps(f)\n    def g(v): return {x} * f(v)\n    return g\n",
        "from mine import double\n@double\ndef loss(v): return v.mean((-2, -1))"),
    "wrapper with the name of a library's function": (
        "import functools, torch\n@functools.wraps(torch.fft.fft)\ndef helper(v): return {x} * v.mean((-2, -1))\n",
        f"import mine\n{USES}"),
    "function in a library's decorator": (
        "import torch\n@torch.no_grad()\ndef helper(v): return {x} * v.mean((-2, -1))\n", f"import mine\n{USES}"),
    "single dispatch": (
        "import functools, torch\n@functools.singledispatch\ndef helper(v): return 0\n@helper.register(torch.Tensor)\n"
        "def _(v): return {x} * v.mean((-2, -1))\n", f"import mine\n{USES}"),
    "default": ("def loss(v, a={x}): return a * v.mean((-2, -1))\n", "from mine import loss"),
    "keyword default": ("def loss(v, *, a={x}): return a * v.mean((-2, -1))\n", "from mine import loss"),
    "attribute of a function": (
        "def loss(v): return loss.a * v.mean((-2, -1))\nloss.a = {x}\n", "from mine import loss"),
    "lambda": ("w = lambda: {x}\ndef loss(v): return w() * v.mean((-2, -1))\n", "from mine import loss"),
    "one of two lambdas of a line": (
        "A, B = lambda: 1.0, lambda: 10.0\nW = A if {x} == 1 else B\ndef loss(v): return W() * v.mean((-2, -1))\n",
        "from mine import loss"),
    "function inside": (
        "def loss(v):\n    def w(): return {x}\n    return w() * v.mean((-2, -1))\n", "from mine import loss"),
    "class inside": (
        "W = {x}\ndef loss(v):\n    class A:\n        w = W\n    return A.w * v.mean((-2, -1))\n",
        "from mine import loss"),
    "generator inside": (
        "W = {x}\ndef loss(v): return sum(W * a for a in v.mean((-2, -1)))\n", "from mine import loss"),
    "named tuple": ("import collections\nP = collections.namedtuple('P', 'a')\nC = P({x})\n"
                    "def loss(v): return C.a * v.mean((-2, -1))\n", "from mine import loss"),
    "enumeration": ("import enum\nclass E(enum.Enum):\n    A = {x}\ndef loss(v): return E.A.value * v.mean((-2, -1))\n",
                    "from mine import loss"),
    "default of a dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    a: float = {x}\n"
        "def loss(v): return C().a * v.mean((-2, -1))\n", "from mine import loss"),
    "network's forward": (
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, v): return {x} * v.mean((-2, -1))\n",
        "from mine import Net\nloss = Net()"),
    "network's part": (
        "import torch\nclass A(torch.nn.Module):\n    def forward(self, v): return {x} * v\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = A()\n"
        "    def forward(self, v): return self.a(v).mean((-2, -1))\n", "from mine import Net\nloss = Net()"),
    "numba": ("import numba\n@numba.njit\ndef w(): return {x}\ndef loss(v): return w() * v.mean((-2, -1))\n",
              "from mine import loss"),
    "method given to tensors": (
        "import torch\ndef helper(self): return {x} * self.mean((-2, -1))\ntorch.Tensor.mine_mean = helper\n",
        "import mine\ndef loss(v): return v.mine_mean()"),
    "function put into a library": (
        "import torch\ndef helper(v): return {x} * v.mean((-2, -1))\ntorch.fft.mine = helper\n",
        "import mine, torch\ndef loss(v): return torch.fft.mine(v)"),
    "module's own __getattr__": (
        "def __getattr__(name):\n    if name == 'W': return {x}\n    raise AttributeError(name)\n",
        "import mine\ndef loss(v): return mine.W * v.mean((-2, -1))"),
    "two that call each other": (
        "def a(n): return b(n - 1) if n else {x}\ndef b(n): return a(n)\n",
        "from mine import a\ndef loss(v): return a(2) * v.mean((-2, -1))"),
    "objects that hold each other": (
        f"class Node:\n    def w(self): return self.next.a\n    {CALL}\np, q = Node(), Node()\np.a, q.a = 1.0, {{x}}\n"
        "p.next, q.next = q, p\n", "from mine import p as loss"),
    "autograd function": (
        "import torch\nclass F(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x): return {x} * x\n"
        "    @staticmethod\n    def backward(ctx, g): return {x} * g\ndef loss(v): return F.apply(v).mean((-2, -1))\n",
        "from mine import loss"),
    "traced graph": (
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, v): return {x} * v.mean((-2, -1))\n"
        "loss = torch.fx.symbolic_trace(Net())\n", "from mine import loss"),
    "context manager": (
        "import contextlib\n@contextlib.contextmanager\ndef c(): yield {x}\n"
        "def loss(v):\n    with c() as w: return w * v.mean((-2, -1))\n", "from mine import loss"),
    "number put into a library": (
        "import torch\ntorch.mine_w = {x}\ndef loss(v): return torch.mine_w * v.mean((-2, -1))\n",
        "from mine import loss"),
    "subclasses": (
        "class B: pass\nclass C(B):\n    w = {x}\n"
        "def loss(v): return B.__subclasses__()[-1].w * v.mean((-2, -1))\n", "from mine import loss"),
    "relative import inside": (
        "def helper(v): return {x} * v.mean((-2, -1))\n", "from pkg.a import loss", "pkg/b.py",
        {"pkg/a.py": "def loss(v):\n    from .b import helper as h\n    return h(v)\n"}),
    "registry filled by a decorator": (
        "R = {}\ndef reg(f):\n    R[f.__name__] = f\n    return f\n@reg\ndef a(v): return {x} * v.mean((-2, -1))\n"
        "def loss(v): return R['a'](v)\n", "from mine import loss"),
    "weak reference": (
        "import weakref\nclass A:\n    a = {x}\nkept = A()\nR = weakref.ref(kept)\n"
        "def loss(v): return R().a * v.mean((-2, -1))\n", "from mine import loss"),
}  # fmt: skip
"""Code whose number is 1 or 10 by what is written in place of {x}: a module `mine`, and a script with the loss."""


@pytest.mark.parametrize("kind", KINDS)
def test_code_is_followed_wherever_it_is_reached(kind: str, script: Callable[..., Any]) -> None:
    module, text, *rest = KINDS[kind]
    found = []
    for x in ("1.0", "1.0", "10.0"):
        loss = script(module.replace("{x}", x), text.replace("{x}", x), *rest)
        known = content("losses", "loss", loss)
        with torch.no_grad():
            value = float(loss(torch.ones(1, 2, 2, dtype=torch.float64)))
        assert value == float(x)
        assert content("losses", "loss", loss) == known, "using it made it another"
        found.append(known)
    assert found[0] == found[1]
    assert found[0] != found[2]


def told(value: Any) -> str:
    return content("losses", "loss", value)


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a: float) -> None:
        self.a = a


class Number(float):
    pass


class Counted(dict):  # type: ignore[type-arg]
    pass


class Drawn(random.Random):
    pass


DIFFERENT: list[tuple[Any, Any]] = [
    (1, "1"), (1, 1.0), (1, True), (0.0, -0.0), (float("nan"), 0.0), (complex(1, 0.0), complex(1, -0.0)),
    ({1: 2}, {"1": 2}), ({1}, {"1"}), ({1, 2}, {1, 2, 3}), ([1], (1,)), (b"a", "a"), (bytearray(b"a"), bytearray(b"b")),
    (slice(1), slice(2)), (range(2), range(3)), (np.float32(0.5), 0.5), (np.float32(0.5), np.float16(0.5)),
    (torch.ones(2), torch.ones(2, dtype=torch.float64)), (torch.ones(2), np.ones(2, np.float32)),
    (torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.bfloat16)),
    (torch.eye(2).to_sparse(), torch.ones(2, 2).to_sparse()), (torch.float32, torch.float64),
    (np.ones(2), np.ones(2, np.float32)), (np.ones(2, "<f8"), np.ones(2, ">f8")), (np.ones((1, 2)), np.ones((2, 1))),
    (np.ma.array([1.0, 2.0], mask=[0, 1]), np.ma.array([1.0, 2.0], mask=[0, 0])),
    (np.array([1, "a"], object), np.array([1, "b"], object)), (np.zeros(2, [("a", "f8")]), np.zeros(2, [("b", "f8")])),
    (np.datetime64("2020", "Y"), np.datetime64("2020", "D")), (np.dtype("f8"), np.dtype("f4")),
    (dt.date(2020, 1, 1), dt.date(2020, 1, 2)), (decimal.Decimal("1"), decimal.Decimal("1.0")),
    (fractions.Fraction(1, 2), fractions.Fraction(1, 3)), (pathlib.PurePath("a"), pathlib.PurePath("b")),
    (re.compile("a"), re.compile("a", re.IGNORECASE)), (random.Random(1), random.Random(2)), (Drawn(1), Drawn(2)),
    (np.random.default_rng(1), np.random.default_rng(2)), (np.random.RandomState(1), np.random.RandomState(2)),
    (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)), (torch.mean, torch.sum),
    (np.add, np.multiply),
    (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)), (collections.deque([1]), collections.deque([1], 3)),
    (collections.OrderedDict([(1, 1), (2, 2)]), collections.OrderedDict([(2, 2), (1, 1)])),
    (collections.defaultdict(int), collections.defaultdict(float)), (Counted(a=1), Counted(a=2)),
    (Number(1), Number(2)),
    (functools.partial(max, 1), functools.partial(max, 2)), ([].append, [1].append), (Slotted(1), Slotted(2)),
    (np.vectorize(lambda x: x), np.vectorize(lambda x: x + 1)), (xr.DataArray([1.0]), xr.DataArray([2.0])),
    (torch.nn.Linear(2, 2, dtype=torch.float64), torch.nn.Linear(2, 2, dtype=torch.float64)),
    (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3)))),
]  # fmt: skip


@pytest.mark.parametrize("pair", DIFFERENT, ids=lambda pair: f"{type(pair[0]).__name__}-{type(pair[1]).__name__}")
def test_values_that_differ_are_told_apart(pair: tuple[Any, Any]) -> None:
    first, second = pair
    assert told(first) != told(second)
    assert told([first, 0]) != told([second, 0])
    if not isinstance(first, torch.Generator | types.BuiltinFunctionType):
        assert told(copy.deepcopy(first)) == told(first)


def test_equal_values_are_told_alike_however_they_are_kept() -> None:
    grid = np.arange(6.0).reshape(2, 3)
    for first, second in [
        (np.ones(3), np.broadcast_to(1.0, 3)), (grid[:, ::-1][:, ::-1], grid),
        (float("nan"), -float("nan")), (np.int64(2), 2), (np.float64(2), 2.0),
        (np.bool_(True), True), (np.str_("a"), "a"), (torch.eye(2).T, torch.eye(2)),
        (torch.nn.Parameter(torch.ones(2)).detach(), torch.ones(2)),
    ]:  # fmt: skip
        assert told(first) == told(second), (first, second)


def test_cycles_end_and_hide_nothing() -> None:
    first: list[Any] = [1]
    first.append(first)
    inner: list[Any] = [1]
    second = [1, inner]
    inner.append(second)
    assert told(first) == told(copy.deepcopy(first))
    assert told(first) != told(second)
    known = collections.defaultdict(list)
    known["a"].append(known)
    assert told(known) == told(copy.deepcopy(known))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: iter([1]), "list_iterator"),
        (lambda path: (path / "a").open("w"), "TextIOWrapper"),
        (lambda path: (i for i in ()), "generator"),
        (lambda path: np.frompyfunc(len, 1, 1), "ufunc"),
        (lambda path: torch.ones(2, device="meta"), "tensor without values"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_place_and_a_way_out(
    make: Callable[[Path], Any], what: str, tmp_path: Path
) -> None:
    value = make(tmp_path)

    def loss(v: torch.Tensor) -> torch.Tensor:
        return v.mean((-2, -1)) * (value is not None)

    message = (
        rf"losses: 'loss' holds .*{what}.* at loss.value, which a store cannot tell from another; let it hold numbers"
    )
    with pytest.raises(ValueError, match=message):
        identity(loss)
    if hasattr(value, "close"):
        value.close()


def test_a_module_imported_by_a_name_that_is_computed_is_refused(script: Callable[..., Any]) -> None:
    loss = script(
        HELPER, "import importlib\ndef loss(v, *n): return importlib.import_module(chr(109) + 'ine').helper(v)"
    )
    with pytest.raises(ValueError, match="an import of a module whose name is not written where it is imported"):
        identity(loss)


def test_properties_and_calls_of_the_callers_are_not_run() -> None:
    class Touchy:
        ran = 0

        @property
        def weight(self) -> float:
            type(self).ran += 1
            return 1.0

        def __reduce__(self) -> Any:
            type(self).ran += 1
            return (Touchy, ())

        __eq__ = __hash__ = __len__ = __iter__ = __reduce__  # type: ignore[assignment]

        def __call__(self, v: torch.Tensor) -> torch.Tensor:
            return self.weight * v.mean((-2, -1))

    told(Touchy())
    assert Touchy.ran == 0


def test_installed_packages_are_told_by_name_and_version_and_a_users_module_by_its_source(script: Any) -> None:
    assert origins.origin("torch.fft") == "torch"
    assert origins.origin("gsimplicit.losses") == "gsimplicit"
    assert origins.origin("json") == "json"
    assert re.fullmatch(rf"xarray {re.escape(xr.__version__)} \w+", str(origins.origin("xarray.core.dataset")))
    script(HELPER, f"import mine\n{USES}")
    assert origins.origin("mine") is None
    assert origins.origin("__main__") is None


def test_a_file_edited_after_it_was_imported_does_not_lend_its_text_to_the_code_that_runs(
    script: Any, tmp_path: Path
) -> None:
    loss = script(HELPER.replace("{x}", "1.0"), "from mine import helper as loss")
    before = identity(loss)
    (tmp_path / "mine.py").write_text(HELPER.replace("{x}", "10.0"))
    edited = identity(loss)
    fresh = script(HELPER.replace("{x}", "10.0"), "from mine import helper as loss")
    assert edited != identity(fresh)
    assert before == identity(script(HELPER.replace("{x}", "1.0"), "from mine import helper as loss"))


def test_code_elsewhere_in_a_script_and_comments_around_do_not_count(script: Any) -> None:
    text = "def loss(v): return v.mean((-2, -1))\n"
    assert identity(script("", text)) == identity(script("", f"# a comment\nOTHER = 3\n\n{text}def other(): pass\n"))


def test_what_a_network_holds_is_told_and_what_the_process_counts_is_not() -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))
            self.register_buffer("offset", torch.zeros(1))

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            return self.scale * v.mean((-2, -1)) + self.offset

    net = Net()
    first = told(net)
    torch.nn.Linear(1, 1).register_forward_hook(print).remove()  # a number of hooks that the process counts
    assert told(copy.deepcopy(net)) == first
    with torch.no_grad():
        net.offset += 1
    second = told(net)
    hook = net.register_forward_hook(lambda module, given, out: 2 * out)
    third = told(net)
    hook.remove()
    assert told(net) == second
    assert len({first, second, third, told(net.eval())}) == 4


def test_identity_is_the_same_in_every_process_and_survives_being_sent(tmp_path: Path) -> None:
    code = (
        "import sys, cloudpickle; from gsimplicit.identity import identity\n"
        "space = {}\n"
        "exec(\"WORDS = {'a', 'b', 'cc', 1, ('d', 2)}\\nclass K:\\n  kinds = {int, str, float}\\n"
        "def loss(v):\\n  w = 2 if 'b' in {'a','b','c','dd'} else 1\\n"
        '  return w*v.mean() if WORDS and K else v", space)\n'
        "if sys.argv[1:]: loss = cloudpickle.load(open(sys.argv[1], 'rb'))\n"
        "else: loss = space['loss']\n"
        "print(identity(loss)[1])\n"
    )
    space: dict[str, Any] = {}
    exec(code.split("if sys")[0].replace("import sys, cloudpickle; ", ""), space)
    here = identity(space["space"]["loss"])[1]
    (tmp_path / "loss").write_bytes(cloudpickle.dumps(space["space"]["loss"]))
    words = [[], [str(tmp_path / "loss")]]
    for seed, given in zip("12", words, strict=True):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code, *given], capture_output=True, text=True, check=True, env=environment
        )
        assert done.stdout.strip() == here


def test_a_loss_of_the_package_is_told_by_name() -> None:
    assert identity(gs.spectrum_loss) == identity(gs.spectrum_loss)
    assert identity(gs.spectrum_loss)[1] != identity(gs.windowed_loss)[1]

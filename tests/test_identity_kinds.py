"""Ways by which a loss reaches code and values that a first reading misses: each is followed, or refused."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from gsimplicit.identity import content, identity

HELPER = "def helper(v): return {x} * v.mean((-2, -1))\n"
CALL = "def __call__(self, v): return self.w() * v.mean((-2, -1))"
CLASS = "class Mine:\n    def __call__(self, v): return self.a * v.mean((-2, -1))\n"

FOLLOWED: dict[str, tuple[Any, ...]] = {
    "order kept by an OrderedDict": (
        "from collections import OrderedDict\nO = OrderedDict(a=1.0, b=10.0)\nif {x} > 5: O.move_to_end('a')\n"
        "def helper(v): return next(iter(O.values())) * v.mean((-2, -1))\n",
        "from mine import helper\ndef loss(v): return helper(v)"),
    "class registered with an ABC": (
        "import abc\nclass B(abc.ABC): pass\nclass C: pass\nif {x} > 5: B.register(C)\n"
        "def helper(v): return (10.0 if isinstance(C(), B) else 1.0) * v.mean((-2, -1))\n",
        "from mine import helper\ndef loss(v): return helper(v)"),
    "order of an array in memory": (
        "import numpy as np\nA = np.array([[1.0, 2.0], [3.0, 4.0]], order='F' if {x} > 5 else 'C')\n"
        "def helper(v): return (10.0 if A.ravel(order='K')[1] == 3 else 1.0) * v.mean((-2, -1))\n",
        "from mine import helper\ndef loss(v): return helper(v)"),
    "import_module relative to the package": (
        HELPER, "from pkg.a import loss", "pkg/b.py",
        {"pkg/a.py": "import importlib\n"
                     "def loss(v): return importlib.import_module('.b', package=__package__).helper(v)\n"}),
    "import_module relative to a package named": (
        HELPER, "import importlib\ndef loss(v): return importlib.import_module('.b', 'pkg').helper(v)", "pkg/b.py"),
    "import_module under another name": (
        HELPER, "from importlib import import_module as get\ndef loss(v): return get('mine').helper(v)"),
    "import_module imported inside": (
        HELPER, "def loss(v):\n    from importlib import import_module\n    return import_module('mine').helper(v)"),
    "name of a module in a global": (
        HELPER, "import importlib\nN = 'mine'\ndef loss(v): return importlib.import_module(N).helper(v)"),
    "name of a module in a closure": (
        HELPER, "import importlib\ndef make(name):\n    def loss(v): return importlib.import_module(name).helper(v)\n"
                "    return loss\nloss = make('mine')"),
    "__import__ with a list": (
        HELPER, "def loss(v): return __import__('pkg', fromlist=['b']).b.helper(v)", "pkg/b.py"),
    "__import__ of a module of a package": (
        HELPER, "def loss(v): return __import__('pkg.b').b.helper(v)", "pkg/b.py"),
    "file by its path": (
        HELPER,
        "import importlib.util as u\nimport pathlib\nP = pathlib.Path(__file__).parent / 'mine.py'\n"
        "s = u.spec_from_file_location('statistics', P)\nm = u.module_from_spec(s)\ns.loader.exec_module(m)\n"
        "def loss(v): return m.helper(v)"),
    "file by its path inside": (
        HELPER,
        "import importlib.util as u\nimport pathlib\nP = pathlib.Path(__file__).parent / 'mine.py'\n"
        "def loss(v):\n    s = u.spec_from_file_location('mine_file', P)\n    m = u.module_from_spec(s)\n"
        "    s.loader.exec_module(m)\n    return m.helper(v)"),
    "module imported inside that imports another": (
        HELPER, "def loss(v):\n    import other\n    return other.helper(v)", "mine.py",
        {"other.py": "from mine import helper\n"}),
    "module imported inside that imports another by name": (
        HELPER, "def loss(v):\n    import other\n    return other.call(v)", "mine.py",
        {"other.py": "import importlib\ndef call(v): return importlib.import_module('mine').helper(v)\n"}),
    "from a package inside": (
        HELPER, "def loss(v):\n    from pkg import b\n    return b.helper(v)", "pkg/b.py"),
    "number set in a module imported inside": (
        "W = 1.0\ndef helper(v): return W * v.mean((-2, -1))\n",
        "import mine\nmine.W = {x}\ndef loss(v):\n    from mine import helper\n    return helper(v)"),
    "function set in a module imported inside": (
        "def helper(v): return v.mean((-2, -1))\n",
        "import mine\ndef other(v): return {x} * v.mean((-2, -1))\nmine.helper = other\n"
        "def loss(v):\n    from mine import helper\n    return helper(v)"),
    "toolz.curry": (
        "import toolz\n@toolz.curry\ndef helper(a, v): return a * {x} * v.mean((-2, -1))\n",
        "import mine\ndef loss(v): return mine.helper(1.0)(v)"),
    "toolz.curry with an argument": (
        "import toolz\ndef f(a, v): return a * v.mean((-2, -1))\nhelper = toolz.curry(f)({x})\n",
        "import mine\ndef loss(v): return mine.helper(v)"),
    "toolz.compose": (
        "import toolz\ndef f(v): return {x} * v\nhelper = toolz.compose(lambda v: v.mean((-2, -1)), f)\n",
        "import mine\ndef loss(v): return mine.helper(v)"),
    "typed list of numba": (
        "import numba.typed\nL = numba.typed.List([{x}])\n",
        "from mine import L\ndef loss(v): return L[0] * v.mean((-2, -1))"),
    "methods beside what dataclass writes": (
        "TEXT = '''import dataclasses\n@dataclasses.dataclass(init=False)\nclass C:\n    a: float = 1.0\n"
        "    def __init__(self): self.b = {x}\n    def __eq__(self, o): return True\n'''\nS = {'__name__': 'mine'}\n"
        "exec(TEXT, S)\nC = S['C']\n", "from mine import C\ndef loss(v): return C().b * v.mean((-2, -1))"),
    "order of a dataclass": (
        "import dataclasses\n@dataclasses.dataclass(order={x} == 1.0)\nclass C:\n    a: float\n",
        "from mine import C\ndef loss(v): return (1.0 if '__lt__' in vars(C) else 10.0) * v.mean((-2, -1))"),
    "forward of torch's own": (
        "import torch\ndef mine(self, v): return {x} * v.mean((-2, -1))\n",
        "import mine, torch\nKEPT = torch.nn.ReLU.forward\ntorch.nn.ReLU.forward = mine.mine\n"
        "net = torch.nn.ReLU()\ndef loss(v): return net(v)"),
    "function of torch that torch calls": (
        "import torch\ndef relu(v, inplace=False): return {x} * v.mean((-2, -1))\n",
        "import mine, torch\ntorch.nn.functional.relu = mine.relu\n"
        "net = torch.nn.ReLU()\ndef loss(v): return net(v)"),
    "method put on networks": (
        "import torch\ndef f(self, v): return {x} * v.mean((-2, -1))\n",
        "import mine, torch\nsetattr(torch.nn.Module, 'mine_f', mine.f)\n"
        "net = torch.nn.ReLU()\ndef loss(v): return net.mine_f(v)"),
    "number put on networks": (
        "import torch\n", "import torch\ntorch.nn.Module.mine_w = {x}\n"
        "net = torch.nn.ReLU()\ndef loss(v): return net.mine_w * v.mean((-2, -1))"),
    "table put on networks": (
        "import torch\n", "import torch\ntorch.nn.Module.mine_t = {'a': {x}}\n"
        "net = torch.nn.ReLU()\ndef loss(v): return net.mine_t['a'] * v.mean((-2, -1))"),
    "property put on tensors": (
        "import torch\n", "import torch\ntorch.Tensor.mine_p = property(lambda t: {x} * t.mean((-2, -1)))\n"
        "def loss(v): return v.mine_p"),
    "operator of tensors replaced": (
        "import torch\ndef mul(a, b): return torch.mul(torch.mul(a, b), {x})\n",
        "import mine, torch\ntorch.Tensor.__mul__ = mine.mul\ndef loss(v): return v.mean((-2, -1)) * 1.0"),
    "operator defined with torch.library": (
        "import torch\ntry:\n    torch.library\n"
        "    @torch.library.custom_op('gsmine::f', mutates_args=())\n"
        "    def f(v: torch.Tensor) -> torch.Tensor: return {x} * v.mean((-2, -1))\nexcept ImportError: pass\n",
        "import mine, torch\ndef loss(v): return torch.ops.gsmine.f(v)"),
    "operator defined with torch.library, by its definition": (
        "import torch\n@torch.library.custom_op('gsmine::g', mutates_args=())\n"
        "def f(v: torch.Tensor) -> torch.Tensor: return {x} * v.mean((-2, -1))\n",
        "from mine import f\ndef loss(v): return f(v)"),
    "accessor of xarray": (
        "import warnings\nimport xarray as xr\nclass A:\n    def __init__(self, o): self.o = o\n"
        "    def w(self): return {x}\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n"
        "    xr.register_dataarray_accessor('gsmine')(A)\n",
        "import mine, xarray as xr\ndef loss(v): return xr.DataArray(1.0).gsmine.w() * v.mean((-2, -1))"),
    "accessor of xarray on what is handed in": (
        "import warnings\nimport xarray as xr\nclass A:\n    def __init__(self, o): self.o = o\n"
        "    def w(self): return {x}\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n"
        "    xr.register_dataset_accessor('gsmine')(A)\nD = xr.Dataset()\n",
        "import mine\ndef w(d): return d.gsmine.w()\ndef loss(v): return w(mine.D) * v.mean((-2, -1))"),
    "accessor of pandas": (
        "import warnings\nimport pandas as pd\nclass A:\n    def __init__(self, o): self.o = o\n"
        "    def w(self): return {x}\nwith warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n"
        "    pd.api.extensions.register_dataframe_accessor('gsmine')(A)\nD = pd.DataFrame({'a': [1.0]})\n",
        "import mine\ndef loss(v): return mine.D.gsmine.w() * v.mean((-2, -1))"),
    "built-in name": (
        "import builtins\n", "import builtins\nbuiltins.MINE_W = {x}\ndef loss(v): return MINE_W * v.mean((-2, -1))"),
    "table among the built-in names": (
        "import builtins\n", "import builtins\nbuiltins.MINE_T = {'a': {x}}\n"
        "def loss(v): return MINE_T['a'] * v.mean((-2, -1))"),
    "built-in function replaced by a library's": (
        "", "import builtins, operator\nbuiltins.oct = operator.index if {x} == 10 else oct\n"
        "def loss(v): return (10 if oct(5) == 5 else 1) * v.mean((-2, -1))"),
    "table put into numpy": (
        "", "import numpy as np\nnp.mine_t = {'a': {x}}\ndef loss(v): return np.mine_t['a'] * v.mean((-2, -1))"),
    "list put into torch": (
        "", "import torch\ntorch.mine_l = [{x}]\ndef loss(v): return torch.mine_l[0] * v.mean((-2, -1))"),
    "function of numpy replaced by another of numpy": (
        "", "import numpy as np\nKEPT = np.square\nnp.square = np.sqrt if {x} == 1 else KEPT\n"
        "def loss(v): return (1 if np.square(100.0) == 10.0 else 10) * v.mean((-2, -1))"),
    "method of torch replaced by another of torch": (
        "", "import torch\ntorch.nn.ReLU.forward = torch.nn.Tanh.forward if {x} == 1 else torch.nn.ReLU.forward\n"
        "net = torch.nn.ReLU()\ndef loss(v): return (1 if net(v.new_ones(())) < 1 else 10) * v.mean((-2, -1))"),
    "attribute of a tensor": (
        "import torch\nT = torch.ones(2)\nT.mine = {x}\n",
        "from mine import T\ndef loss(v): return T.mine * v.mean((-2, -1))"),
    "attribute of a parameter": (
        "import torch\nT = torch.nn.Parameter(torch.ones(2))\nT.mine = {x}\n",
        "from mine import T\ndef loss(v): return T.mine * v.mean((-2, -1))"),
    "hook of a tensor": (
        "import torch\nT = torch.ones(1, requires_grad=True)\nT.register_hook(lambda g: {x} * g)\n",
        "import torch\nfrom mine import T\ndef loss(v):\n    with torch.enable_grad():\n"
        "        return torch.autograd.grad((T * 1.0).sum(), T)[0] * v.mean((-2, -1))"),
    "hook of all networks": (
        "import torch\n", "import torch\n"
        "torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: {x} * o)\nnet = torch.nn.Identity()\n"
        "def loss(v): return net(v).mean((-2, -1))"),
    "value given to a cached property": (
        "import functools\nclass Mine:\n    @functools.cached_property\n    def a(self): return 1.0\n"
        "    def __call__(self, v): return self.a * v.mean((-2, -1))\n",
        "from mine import Mine\nloss = Mine()\nloss.a = {x}"),
    "subclasses in other modules": (
        "class Term: pass\ndef total(): return sum(c.w for c in Term.__subclasses__())\n",
        "import mine, other\ndef loss(v): return mine.total() * v.mean((-2, -1))", "mine.py",
        {"other.py": "from mine import Term\nclass A(Term):\n    w = {x}\n"}),
    "subclasses by a method of the class": (
        "class Term:\n    @classmethod\n    def total(cls): return sum(c.w for c in cls.__subclasses__())\n",
        "import mine, other\ndef loss(v): return mine.Term.total() * v.mean((-2, -1))", "mine.py",
        {"other.py": "from mine import Term\nclass A(Term):\n    w = {x}\n"}),
    "subclasses of subclasses": (
        "class Term: pass\ndef below(c):\n    for s in c.__subclasses__():\n        yield s\n"
        "        yield from below(s)\n",
        "import mine, other\n"
        "def loss(v): return sum(vars(c).get('w', 0) for c in mine.below(mine.Term)) * v.mean((-2, -1))",
        "mine.py",
        {"other.py": "from mine import Term\nclass A(Term): pass\nclass B(A): pass\nclass C(B):\n    w = {x}\n"}),
    "type a base is subscripted with": (
        "import typing\nT = typing.TypeVar('T')\nclass A: w = {x}\nclass Base(typing.Generic[T]):\n"
        "    def w(self): return typing.get_args(type(self).__orig_bases__[0])[0].w\n"
        f"    {CALL}\nclass Mine(Base[A]): pass\n", "from mine import Mine\nloss = Mine()"),
    "metadata of an annotation in a class": (
        "import typing\nW = {x}\nclass Mine:\n    a: typing.Annotated[float, W] = 1.0\n"
        "    def w(self): return typing.get_type_hints(type(self), include_extras=True)['a'].__metadata__[0]\n"
        f"    {CALL}\n", "from mine import Mine\nloss = Mine()"),
    "code of a function replaced": (
        "def helper(v): return v.mean((-2, -1))\ndef other(v): return {x} * v.mean((-2, -1))\n"
        "helper.__code__ = other.__code__\n", "import mine\ndef loss(v): return mine.helper(v)"),
    "feature by a hook": (
        "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = torch.nn.Identity()\n        self.handle = self.a.register_forward_hook(self.hook)\n"
        "    def hook(self, m, i, o): return {x} * o\n    def forward(self, v): return self.a(v).mean((-2, -1))\n",
        "from mine import Net\nloss = Net()"),
    "order of a dictionary of networks": (
        "import torch\nclass S(torch.nn.Module):\n    def __init__(self, w):\n        super().__init__()\n"
        "        self.w = w\n"
        "    def forward(self, v): return self.w\n"
        "A, B = S(1.0), S(10.0)\nD = torch.nn.ModuleDict({'a': A, 'b': B} if {x} == 1 else {'b': B, 'a': A})\n",
        "from mine import D\ndef loss(v): return next(iter(D.values()))(v) * v.mean((-2, -1))"),
    "order of an enumeration": (
        "import enum\nE = enum.Enum('E', {'A': 1.0, 'B': 10.0} if {x} == 1 else {'B': 10.0, 'A': 1.0})\n",
        "from mine import E\ndef loss(v): return list(E)[0].value * v.mean((-2, -1))"),
    "order of keywords": (
        "import functools\ndef f(v, **k): return next(iter(k.values())) * v.mean((-2, -1))\n"
        "P = functools.partial(f, **({'a': 1.0, 'b': 10.0} if {x} == 1 else {'b': 10.0, 'a': 1.0}))\n",
        "from mine import P\ndef loss(v): return P(v)"),
    "order of attributes": (
        "class C:\n    def __init__(self, **k): self.__dict__.update(k)\n"
        "P = C(**({'a': 1.0, 'b': 10.0} if {x} == 1 else {'b': 10.0, 'a': 1.0}))\n",
        "from mine import P\ndef loss(v): return next(iter(vars(P).values())) * v.mean((-2, -1))"),
    "default dtype": (
        "", "import torch\ntorch.set_default_dtype(torch.float32 if {x} == 1 else torch.float64)\n"
        "def loss(v): return (1 if torch.ones(1).dtype == torch.float32 else 10) * v.mean((-2, -1))"),
    "jitclass": (
        "import numba\nfrom numba.experimental import jitclass\n@jitclass([('a', numba.float64)])\nclass C:\n"
        "    def __init__(self): self.a = 1.0\n    def w(self): return self.a * {x}\n",
        "from mine import C\ndef loss(v): return C().w() * v.mean((-2, -1))"),
    "object of a jitclass": (
        "import numba\nfrom numba.experimental import jitclass\n@jitclass([('a', numba.float64)])\nclass C:\n"
        "    def __init__(self, a): self.a = a\nP = C({x})\n",
        "from mine import P\ndef loss(v): return P.a * v.mean((-2, -1))"),
    "overload of numba": (
        "import numba\nfrom numba.extending import overload\ndef f(): return 3.0\n@overload(f)\ndef _f():\n"
        "    return lambda: {x}\n@numba.njit\ndef w(): return f()\n",
        "from mine import w\ndef loss(v): return w() * v.mean((-2, -1))"),
    "generalised function of numba": (
        "import numba\n@numba.vectorize(['float64(float64)'])\ndef w(a): return a * {x}\n",
        "from mine import w\ndef loss(v): return float(w(1.0)) * v.mean((-2, -1))"),
    "function of numba for C": (
        "import numba\n@numba.cfunc('float64(float64)')\ndef w(a): return a * {x}\n",
        "from mine import w\ndef loss(v): return w.ctypes(1.0) * v.mean((-2, -1))"),
    "stencil of numba": (
        "import numba\n@numba.stencil\ndef w(a): return a[0] * {x}\n",
        "import numpy as np\nfrom mine import w\ndef loss(v): return float(w(np.ones(3))[1]) * v.mean((-2, -1))"),
    "context variable": (
        "import contextvars\nC = contextvars.ContextVar('C', default=3.0)\nC.set({x})\n",
        "from mine import C\ndef loss(v): return C.get() * v.mean((-2, -1))"),
    "values of a thread": (
        "import threading\nC = threading.local()\nC.a = {x}\n",
        "from mine import C\ndef loss(v): return C.a * v.mean((-2, -1))"),
    "new type": (
        "import typing\nclass A:\n    a = {x}\nN = typing.NewType('N', A)\n",
        "from mine import N\ndef loss(v): return N.__supertype__.a * v.mean((-2, -1))"),
    "what an annotation carries": (
        "import typing\nN = typing.Annotated[float, {x}]\n",
        "from mine import N\ndef loss(v): return N.__metadata__[0] * v.mean((-2, -1))"),
    "delayed function": (
        "import dask\n@dask.delayed\ndef w(): return {x}\n",
        "from mine import w\ndef loss(v): return w().compute(scheduler='sync') * v.mean((-2, -1))"),
    "class of attrs": (
        "import attrs\n@attrs.frozen\nclass C:\n    a: float = {x}\n",
        "from mine import C\ndef loss(v): return C().a * v.mean((-2, -1))"),
    "converter of attrs": (
        "import attrs\n@attrs.frozen\nclass C:\n    a: float = attrs.field(default=1.0, converter=lambda a: a * {x})\n"
        "P = C()\n", "from mine import P\ndef loss(v): return P.a * v.mean((-2, -1))"),
    "method of attrs": (
        "import attrs\n@attrs.define\nclass C:\n    a: float = 1.0\n    def w(self): return self.a * {x}\n"
        "P = C()\n", "from mine import P\ndef loss(v): return P.w() * v.mean((-2, -1))"),
    "registry by class": (
        "R = {}\ndef reg(c):\n    R[c] = c()\n    return c\n"
        + "".join(f"@reg\nclass C{n}:\n    def w(self): return {'{x}' if n == 9 else 0.0}\n"
        f"    def all(self): return R\n"
                  for n in range(20)),
        "import mine\ndef loss(v): return sum(c.w() for c in mine.R.values()) * v.mean((-2, -1))"),
    "set of classes that know it": (
        "R = set()\ndef reg(c):\n    R.add(c)\n    return c\n"
        + "".join(f"@reg\nclass C{n}:\n    def w(self): return {'{x}' if n == 9 else 0.0}\n"
        f"    def all(self): return R\n"
                  for n in range(20)),
        "import mine\ndef loss(v): return sum(c().w() for c in mine.R) * v.mean((-2, -1))"),
    "end of a long chain": (
        "class N:\n    def __init__(self, n): self.n = n\nat = N({x})\nfor _ in range(3000): at = N(at)\n",
        "import mine\ndef loss(v):\n    at = mine.at\n    while not isinstance(at, float): at = at.n\n"
        "    return at * v.mean((-2, -1))"),
    "distribution of scipy": (
        "import scipy.stats\nD = scipy.stats.norm(loc={x})\n",
        "from mine import D\ndef loss(v): return float(D.mean()) * v.mean((-2, -1))"),
    "interpolator of scipy": (
        "import numpy as np\nfrom scipy.interpolate import CubicSpline\n"
        "D = CubicSpline([0, 1, 2, 3], np.full(4, {x}))\n",
        "from mine import D\ndef loss(v): return float(D(0.5)) * v.mean((-2, -1))"),
    "table of pandas with text": (
        "import pandas as pd\nD = pd.DataFrame({'a': ['x', 'y'], 'b': [{x}, 2.0]}, index=['p', 'q'])\n",
        "from mine import D\ndef loss(v): return float(D.loc['p', 'b']) * v.mean((-2, -1))"),
    "column of pandas with times": (
        "import pandas as pd\n"
        "D = pd.Series([{x}, 2.0], index=pd.to_datetime(['2020-01-01', '2020-01-02']), name='d')\n",
        "from mine import D\ndef loss(v): return float(D.iloc[0]) * v.mean((-2, -1))"),
}  # fmt: skip


@contextmanager
def put_back() -> Iterator[None]:
    """Puts back what a script changes in installed packages."""
    spaces = (torch.nn.ReLU, torch.nn.Module, torch.nn.functional, torch.Tensor, builtins, np, torch)
    before = [dict(vars(one)) for one in spaces]
    dtype = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.nn.modules.module._global_forward_hooks.clear()
        for one, kept in zip(spaces, before, strict=True):
            for name in [name for name in vars(one) if "mine" in name.lower() or name == "__mul__"]:
                delattr(one, name)
            for name, value in kept.items():
                if vars(one).get(name) is not value:
                    setattr(one, name, value)


@pytest.mark.parametrize("kind", FOLLOWED)
def test_code_and_values_are_followed_however_they_are_reached(kind: str, script: Callable[..., Any]) -> None:
    module, text, *rest = FOLLOWED[kind]
    others = rest[1] if len(rest) > 1 else {}
    found = []
    for x in ("1.0", "1.0", "10.0"):
        written = {name: one.replace("{x}", x) for name, one in others.items()}
        with put_back():
            loss = script(module.replace("{x}", x), text.replace("{x}", x), *rest[:1], others=written)
            known = content("losses", "loss", loss)
            with torch.no_grad():
                value = float(loss(torch.ones(1, 2, 2, dtype=torch.float64)))
            assert value == float(x)
            assert content("losses", "loss", loss) == known, "using it made it another"
        found.append(known)
    assert found[0] == found[1]
    assert found[0] != found[2]


REFUSED: dict[str, tuple[str, str]] = {
    "name put together": ("import importlib\n"
    "def loss(v): return importlib.import_module('mi' + v.n).helper(v)", "an import"),
    "name in a text with a hole": (
        "def loss(v, n='ne'): return __import__(f'mi{n}').helper(v)", "an import"),
    "name in an attribute": (
        "import importlib\nclass L:\n    name = 'mine'\n"
        "    def __call__(self, v): return importlib.import_module(self.name).helper(v)\nloss = L()", "an import"),
    "name handed to a helper": (
        "import importlib\ndef get(name): return importlib.import_module(name)\n"
        "def loss(v): return get('mine').helper(v)", "an import"),
    "import handed on": (
        "import functools, importlib\nG = functools.partial(importlib.import_module, 'mine')\n"
        "def loss(v): return G().helper(v)", "importlib.import_module"),
    "import held by an object": (
        "import importlib\nclass L:\n    def __init__(self): self.get = importlib.import_module\n"
        "    def __call__(self, v): return self.get('mine').helper(v)\nloss = L()", "importlib.import_module"),
    "import in a table": (
        "import importlib\nT = {'get': importlib.import_module}\ndef loss(v): return T['get']('mine').helper(v)",
        "importlib.import_module"),
    "import passed as an argument": (
        "import importlib\ndef loss(v): return list(map(importlib.import_module, ['mine']))[0].helper(v)", "an import"),
    "loader of a file": (
        "from importlib.machinery import SourceFileLoader as S\n"
        "def loss(v): return S('m', v.path).load_module().helper(v)", "an import"),
    "run by its path": ("import runpy\ndef loss(v): return runpy.run_path(v.path)['helper'](v)", "an import"),
    "plugins": (
        "import importlib.metadata as m\ndef loss(v): return list(m.entry_points(group='g'))[0].load()(v)",
        "entry_points"),
    "operator with code out of reach": (
        "import torch\nL = torch.library.Library('gsmine_far', 'FRAGMENT')\nL.define('f(Tensor v) -> Tensor')\n"
        "L.impl('f', lambda v: 2 * v, 'CompositeExplicitAutograd')\ndef loss(v): return torch.ops.gsmine_far.f(v)",
        "the operator gsmine_far::f"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_followed_is_refused_as_a_kind(kind: str, script: Callable[..., Any]) -> None:
    text, what = REFUSED[kind]
    loss = script(HELPER.replace("{x}", "1.0"), text)
    with pytest.raises(TypeError, match=f"losses: 'loss' holds .*{what}.*which a store cannot tell from another"):
        content("losses", "loss", loss)


def test_an_operator_of_torch_that_was_replaced_is_refused(script: Callable[..., Any]) -> None:
    def loss(v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.hardshrink(v).mean((-2, -1))

    before = identity(loss)
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, that it was there before
        library.impl("hardshrink", lambda v, *_: 2 * v, "CPU")
    try:
        with pytest.raises(TypeError, match="the operator aten::hardshrink"):
            identity(loss)
    finally:
        library._destroy()
    assert identity(loss) == before


def test_nothing_is_imported_to_tell_a_branch_that_never_ran(script: Callable[..., Any]) -> None:
    text = (
        "def loss(v):\n    if v is None:\n        import pkg.deadly\n        import other\n"
        "        from pkg import deadly\n"
        "        __import__('pkg.deadly')\n    return v.mean((-2, -1))\n"
    )
    found = []
    for x in ("1", "1", "2"):
        deadly = f"import sys, other\nsys.exit({x})\n"
        others = {"pkg/deadly.py": deadly, "pkg/__init__.py": "raise SystemExit(3)", "other.py": "import nowhere"}
        found.append(identity(script("", text, "mine.py", others)))
        assert not {"pkg", "pkg.deadly", "other"} & set(sys.modules)
    assert found[0] == found[1] != found[2]


def test_a_module_is_told_alike_before_and_after_it_was_imported(script: Callable[..., Any]) -> None:
    texts = {
        "pkg/__init__.py": "from pkg import a\nW = 2.0\nT = [1]\n",
        "pkg/a.py": "import functools, torch, os\nfrom pkg.b import *\nfrom . import b\nC = {}\nD = {'a': 1}\n"
        "@functools.cache\ndef f(): return 1\n@functools.wraps(f)\ndef g(): C[1] = 2; return b.f() * D['a']\n"
        "class K:\n    w = 1\n    def __call__(self): return g()\nk = K()\nL = lambda: 1\n"
        "for n in range(3): globals()[f'f{n}'] = n\nx, y = 1, 2\ntry:\n    import nothing\n"
        "except ImportError:\n    nothing = None\n",
        "pkg/b.py": "def f(): return 1\n_hidden = 3\nglobal_count = 0\ndef up():\n    global global_count\n"
        "    global_count += 1\n",
    }
    loss = script(
        "",
        "def loss(v):\n    from pkg.a import k\n    from pkg.b import up\n    up()\n"
        "    return k() * v.mean((-2, -1))\n",
        "mine.py",
        texts,
    )
    before = identity(loss)
    loss(torch.ones(1, 2, 2))
    assert "pkg.b" in sys.modules
    assert identity(loss) == before


def test_computing_an_identity_of_many_classes_that_know_each_other_takes_no_time(script: Callable[..., Any]) -> None:
    text = "R = {}\nS = set()\n" + "".join(
        f"class C{n}:\n    def w(self): return R, S\nR[C{n}] = C{n}\nR[C{n}.w] = [C{n}]\nS.add(C{n})\n"
        f"S.add(frozenset([C{n}]))\n"
        for n in range(60)
    )
    loss = script(text, "import mine\ndef loss(v): return len(mine.R) * v.mean((-2, -1))")
    begin = time.perf_counter()
    first = identity(loss)
    assert time.perf_counter() - begin < 2
    assert identity(loss) == first


HELD = """
import collections, datetime, re, threading, typing
import numpy as np, pandas as pd, scipy.interpolate, scipy.sparse, scipy.stats, sympy, torch, xarray as xr
from os import environ
from sys import stderr
from scipy.stats import norm
X = np.arange(9.0)
HELD = [
    pd.DataFrame({"a": ["x", "y"], "t": pd.to_datetime(["2020", "2021"]),
                  "c": pd.Categorical(["u", "v"])}, index=["p", "q"]),
    pd.Series([1.0], index=pd.MultiIndex.from_tuples([("a", 1)])), pd.Timestamp("2020", tz="UTC"), pd.NA, pd.NaT,
    np.random.default_rng(0), np.random.mtrand._rand, torch.default_generator, norm, scipy.stats.norm(1.0), norm.pdf,
    scipy.interpolate.UnivariateSpline(X, X**2), scipy.sparse.csr_array(np.eye(2)), sympy.Symbol("x") ** 2,
    environ, stderr, typing.NewType("N", int), typing.Optional[int], threading.local(), threading.Condition(),
    torch.finfo(torch.float32), np.finfo(float), xr.Dataset({"a": ("x", [1.0])}, coords={"x": ["p"]}), Exception("a"),
    {str, int, np.mean, torch.mean, len, (1, "a"), frozenset({"b", "c"})}, torch.ops.aten.relu, np.ma.masked,
]
"""


def test_what_losses_commonly_hold_is_told_alike_in_every_process_and_after_use() -> None:
    space: dict[str, Any] = {}
    exec(HELD, space)
    here = [content("losses", "loss", one) for one in space["HELD"]]
    assert [content("losses", "loss", one) for one in space["HELD"]] == here
    assert len(set(here)) == len(here)
    code = f"{HELD}\nfrom gsimplicit.identity import content\nprint(*(content('losses', 'loss', x) for x in HELD))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "3"},
    )
    there = done.stdout.split()
    assert [str(one)[:60] for one, a, b in zip(space["HELD"], here, there, strict=True) if a != b] == []


def test_what_a_library_puts_down_for_copying_objects_of_others_does_not_count() -> None:
    code = (
        "import copyreg; from gsimplicit.identity import content; held = [Exception('a'), KeyError(1)];"
        "before = [content('losses', 'loss', x) for x in held]; from tblib import pickling_support;"
        "pickling_support.install(); assert KeyError in copyreg.dispatch_table;"  # as dask does
        "print(before == [content('losses', 'loss', x) for x in held], len(set(before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "2"]


def test_what_cannot_be_looked_into_is_refused() -> None:
    class Meta(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise RuntimeError("not here")

    held = Meta("Strange", (), {})

    def loss(v: torch.Tensor) -> torch.Tensor:
        return v.mean((-2, -1)) * (held is not None)

    with pytest.raises(TypeError, match="raises RuntimeError"):
        identity(loss)

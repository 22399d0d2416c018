"""Which tensors of the CPU pass for tensors of a device, and errors wherever a device would raise one.

A tensor lies there where its memory is noted so. Every function of torch is looked at twice: what is called, which asks
for devices and crosses to numpy, and what is computed in the end, backward too, which must not mix devices.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE, CPU = torch.device("cuda", 0), torch.device("cpu")
TENSOR = torch.Tensor
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
"""Their indices may lie on the CPU."""
CROSSES = ("aten::copy_", "aten::_local_scalar_dense", "aten::set_", "aten::_has_compatible_shallow_copy_type")
"""May take tensors of two devices."""

_there: dict[int, StorageWeakRef] = {}
_home = os.getpid()
watchers: list[Callable[[], None]] = []
"""Called whenever something new lies there."""
_lock = threading.RLock()


def _bare(x: torch.Tensor) -> torch.Tensor:
    """What a transform of torch.func wraps."""
    functorch: Any = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(x):
        x = functorch.get_unwrapped(x)
    return x


def lies_there(x: torch.Tensor) -> bool:
    """Whether a tensor lies on the device."""
    with torch._C.DisableTorchFunction():
        x = _bare(x)
        if x.layout is not torch.strided or x.device.type != "cpu":
            return False
        return x.untyped_storage()._cdata in _there


def held() -> int:
    """Bytes that lie there now."""
    with _lock:
        alive = [one for one in _there.values() if not one.expired()]
        return sum(torch.UntypedStorage._new_with_weak_ptr(one.cdata).nbytes() for one in alive)


def put(x: torch.Tensor, there: bool) -> torch.Tensor:
    """Note where the memory of a tensor lies."""
    if there and os.getpid() != _home:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
    with _lock, torch._C.DisableTorchFunction():
        key = StorageWeakRef(_bare(x).untyped_storage())
        if there:
            _there[key.cdata] = key  # which keeps the address from being used again
            for looked in watchers:
                looked()
        else:
            _there.pop(key.cdata, None)
        if len(_there) % 4096 == 4095:
            for old in [cdata for cdata, one in _there.items() if one.expired()]:
                del _there[old]
    return x


class Across(torch.autograd.Function):
    """A copy on the other device; its gradient comes back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, there: bool) -> torch.Tensor:
        """The copy."""
        return put(x.clone(), there)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Where it went."""
        ctx.there = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """To where the copied tensor lies."""
        return Across.apply(grads[0], not ctx.there), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """A tangent goes the same way."""
        return Across.apply(tangents[0], ctx.there)


def pickled(x: torch.Tensor) -> Any:
    """How tensors are pickled meanwhile: by functions of torch alone, as the code of a test would be sent by value."""
    if not lies_there(x):
        return x.__reduce_ex__(2)
    return TENSOR.to, (Across.apply(x.detach(), False).requires_grad_(x.requires_grad), "cuda")


def _refused(what: str) -> TypeError:
    return TypeError(f"can't convert cuda:0 device type tensor to numpy ({what})")


def _device(value: Any) -> torch.device | None:
    if isinstance(value, str):
        try:
            return torch.device(value)
        except RuntimeError:
            return None
    return value if isinstance(value, torch.device) else None


class Asked(TorchFunctionMode):
    """What is called: devices asked for, and ways out of torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        x = args[0] if args and isinstance(args[0], TENSOR) else None
        there = x is not None and lies_there(x)
        if there and (given := _answers(func)) is not None:
            return given
        if there and func in (TENSOR.numpy, TENSOR.__array__) and not kwargs.get("force"):
            raise _refused(func.__name__)
        if func in (TENSOR.cuda, TENSOR.cpu):
            return _moved(x, func is TENSOR.cuda)
        if func is TENSOR.to:
            return _to(args, kwargs)
        device = _device(kwargs.get("device"))
        if device is not None and device.type == "cuda":
            if (device.index or 0) != 0:
                raise RuntimeError("CUDA error: invalid device ordinal")
            if getattr(kwargs.get("generator"), "device", DEVICE).type != "cuda":
                raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
            kwargs["device"] = CPU
        if device is not None and func in (torch.as_tensor, torch.tensor, torch.asarray) and x is not None:
            kwargs.pop("device")
            return _moved(func(*args, **kwargs), device.type == "cuda")
        out = func(*args, **kwargs)
        if device is not None and isinstance(out, TENSOR) and device.type != "meta":
            return put(out, device.type == "cuda")
        if func in (TENSOR.__deepcopy__, torch.tensor) and x is not None:
            put(out, there)
        if func is torch.autograd.grad:
            _alike(kwargs.get("inputs", args[1] if len(args) > 1 else ()), out)
        return out


def _answers(func: Any) -> Any:
    """What a tensor on the device says of itself."""
    said = {TENSOR.device: DEVICE, TENSOR.is_cuda: True, TENSOR.is_cpu: False}
    found = {asked.__get__: answer for asked, answer in said.items()}
    return 0 if func is TENSOR.get_device else found.get(func)


def _moved(x: Any, there: bool) -> torch.Tensor:
    return x if lies_there(x) == there else Across.apply(x, there)


def _to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """`Tensor.to` in all its forms."""
    x, rest = args[0], []
    goal = _device(kwargs.pop("device", None))
    like = kwargs.pop("other", None)
    for one in args[1:]:
        if isinstance(one, TENSOR):
            like = one
        elif (device := _device(one)) is not None:
            goal = device
        elif one is not None:
            rest.append(one)
    if like is not None:
        goal, rest = DEVICE if lies_there(like) else CPU, [like.dtype, *rest]
    if goal is not None and goal.type == "meta":
        return x.to(goal)
    there = lies_there(x) if goal is None else goal.type == "cuda"
    moved = _moved(x, there)
    return moved.to(*rest, **kwargs) if rest or kwargs else moved


def _alike(inputs: Any, grads: Any) -> None:
    """Gradients lie where their inputs do."""
    for x, grad in zip([inputs] if isinstance(inputs, TENSOR) else inputs, grads, strict=True):
        if grad is not None and lies_there(x) != lies_there(grad):
            raise RuntimeError("returned an invalid gradient: expected another device")


class Computed(TorchDispatchMode):
    """What is computed: everything on one device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func._schema.name
        given = list(args)
        if name in INDEXED:
            if not lies_there(args[0]) and any(i is not None and lies_there(i) for i in args[1]):
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
            del given[1]
        found = [x for x in tree_leaves((given, kwargs)) if isinstance(x, TENSOR)]
        there = any(map(lies_there, found))
        if there and name not in CROSSES and any(x.dim() and not lies_there(x) for x in found):
            raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu, in {name}")
        out = func(*args, **kwargs)
        if there and name != "aten::copy_":
            for x in tree_leaves(out):
                if isinstance(x, TENSOR) and x.layout is torch.strided:
                    put(x, True)
        return out

"""Operators of torch, which are found by a name in tables of its own: those that a user defined are followed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

from gsimplicit.identity import origins, patches

if TYPE_CHECKING:
    import types

    from gsimplicit.identity.values import Walk

_TORCHS = {"aten", "prim", "prims", "quantized", "mkldnn", "mkl", "onednn", "profiler", "inductor", "c10d", "rngprims",
           "debugprims", "xnnpack", "sparse", "static_runtime", "torch", "inductor_prims", "higher_order", "_quantized",
           "_native", "symm_mem", "export"}  # fmt: skip
"""Names under which torch keeps its own."""

_FUNCTIONS = ("_init_fn", "_backend_fns", "_abstract_fn", "_setup_context_fn", "_backward_fn", "_vmap_fn",
              "_torch_dispatch_fns")  # fmt: skip


def named(module: types.ModuleType, chain: tuple[str, ...]) -> tuple[str, str] | None:
    """Namespace and name of the operator that a chain of names leads to; None where it leads to none."""
    if module is torch.ops and len(chain) > 1:
        return chain[0], chain[1]
    if isinstance(module, torch._ops._OpNamespace) and chain:
        return module.name, chain[0]
    return None


def is_operator(value: Any) -> bool:
    """Whether it is an operator, or the definition of one."""
    kinds = (torch._ops.OpOverloadPacket, torch._ops.OpOverload)
    return isinstance(value, kinds) or type(value).__qualname__ == "CustomOpDef"


def of_value(walk: Walk, value: Any) -> list[Any]:
    """An operator held as a value."""
    name = getattr(value, "_qualname", None) or getattr(value, "_qualified_op_name", None) or value._name
    space, _, rest = str(name).partition("::")
    overload = str(getattr(value, "_overloadname", ""))
    return ["operator", name, overload, *tell(walk, space, rest.partition(".")[0])]


def tell(walk: Walk, space: str, name: str) -> list[Any]:
    """Code of an operator; nothing of those that torch or an installed package defines.

    Raises:
        UntoldError: It was defined by hand, so that its code is out of reach.
    """
    if space in _TORCHS:
        return []
    defined = getattr(sys.modules.get("torch._library.custom_ops"), "OPDEFS", {}).get(f"{space}::{name}")
    if defined is not None:
        # what torch makes around them is marked when it is first used
        held = [(part, patches.inside(getattr(defined, part, None))) for part in _FUNCTIONS]
        return [[part, [walk.tell(one, part) for one in found]] for part, found in held if found]
    if origins.origin(space) is not None:  # torchvision::nms
        return []
    raise walk.refuse(f"the operator {space}::{name}, whose code is not seen (define it with torch.library.custom_op)")


def check(walk: Walk) -> None:
    """Refuses where an operator of torch's was given other code for the processor or for its gradient.

    Raises:
        UntoldError: One was.
    """
    listed = torch.library._impls
    if len(listed) != _CHECKED[0]:
        parts = [one.split("/") for one in listed.copy()]
        _REPLACED[:] = sorted(f"{space}::{name}" for space, name, key in parts if space == "aten" and key in _COMPUTING)
        _CHECKED[0] = len(listed)
    for name in _REPLACED:
        raise walk.refuse(f"the operator {name}, whose code was replaced with torch.library,")


_COMPUTING = {"CPU", "Autograd", "AutogradCPU", "CompositeExplicitAutograd", "CompositeImplicitAutograd"}
_CHECKED = [0]
_REPLACED: list[str] = []

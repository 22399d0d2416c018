"""Transforms of torch.func, vmap and forward mode: how to see them, and errors that say what to do instead.

Parameters under `torch.func.grad`, `vjp` or `jacrev` pass through `solve`, which reads their values; everything else
needs plain numbers.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["BATCHED", "FORWARD", "VMAP", "refuse_batched", "refuse_transformed", "transformed"]

VMAP = (
    "gsimplicit cannot be mapped by torch.func.vmap, or by vectorised Jacobians of the parameters: give the batch as "
    "Params of shape (B,), or loop over it"
)
FORWARD = (
    "gsimplicit.solve has no forward mode (torch.func.jvp, jacfwd, dual tensors): use reverse mode, torch.func.jacrev "
    "say; gsimplicit.root_derivatives and gsimplicit.routes.Tangent compute forward derivatives themselves"
)

BATCHED = (
    "gsimplicit.solve cannot pull back cotangents batched by is_grads_batched=True or vectorize=True: use "
    "torch.func.jacrev, which it serves all at once, or torch.autograd.functional.jacobian without vectorize"
)

_functorch: Any = torch._C._functorch


def transformed(tensor: torch.Tensor) -> bool:
    """Whether a transform of torch.func, or forward mode, is about to differentiate or batch a tensor."""
    return bool(_functorch.is_functorch_wrapped_tensor(tensor)) or _is_dual(tensor)


def refuse_batched(name: str, tensor: torch.Tensor) -> None:
    """Raise a ValueError where a tensor stands for a batch of `torch.func.vmap`, at any level."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        if _functorch.is_batchedtensor(tensor):
            raise ValueError(f"{name} is batched by vmap: {VMAP}")
        tensor = _functorch.get_unwrapped(tensor)


def refuse_transformed(tensor: torch.Tensor) -> None:
    """Raise a ValueError where a derivative that a transform asks for would be lost, or a trace keep a constant."""
    if torch._C._get_tracing_state() is not None:
        raise ValueError(
            "gsimplicit cannot be traced by torch.jit.trace: the trace would keep what is computed now as a constant, "
            "whatever it is called with; trace the loss alone"
        )
    if transformed(tensor):
        raise ValueError(
            "gsimplicit was called inside a transform of torch.func, or of forward mode, which would see nothing of "
            "what is computed: call it outside; only gsimplicit.solve can be differentiated through, by "
            "torch.func.grad, vjp and jacrev; gsimplicit.grad gives the gradient itself"
        )


def _is_dual(tensor: torch.Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]

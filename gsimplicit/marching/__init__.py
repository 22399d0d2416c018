"""Explicit stepping, forward and its discrete adjoint, in batches: `backend` says what steps them."""

from gsimplicit.marching.backend import KERNELS, TORCH, Backend, Marched, backend_for

__all__ = ["KERNELS", "TORCH", "Backend", "Marched", "backend_for"]

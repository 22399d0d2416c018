"""Systems made ready by `Direct`: sparse LU an instance, side by side on threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.refine.linear import BorderedJacobian, unsolved
from gsimplicit.threads import each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered, Solution

Array = np.ndarray[Any, np.dtype[np.float64]]


class PreparedLU:
    """Sparse LU factors of a batch; None stands for those of a system that is singular."""

    def __init__(self, systems: Sequence[Bordered]) -> None:
        def one(system: Bordered) -> BorderedJacobian | None:
            try:
                return BorderedJacobian(system)
            except np.linalg.LinAlgError:
                return None

        self._systems = systems
        self._factors = each(one, systems)

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool = True,
        tol: float | None = None,
    ) -> list[Solution]:
        """Solve each system, see `Prepared`."""

        def one(i: int) -> Solution:
            factors = self._factors[i]
            if factors is not None and np.isfinite(r[i]).all():
                try:
                    return factors.solve(
                        r[i], None if q is None else q[i], transpose=transpose, border=border, tol=tol or 1e-12
                    )
                except np.linalg.LinAlgError:
                    pass
            return unsolved(self._systems[i], border=border)

        return each(one, range(len(r)))

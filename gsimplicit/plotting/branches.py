"""Branches of steady states as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from gsimplicit.plotting.figures import SERIES, as_it_stands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gsimplicit.bifurcation.branch import Branch


def branch(branch: Branch, ax: Axes, *, color: str = SERIES[0], label: str | None = None) -> Axes:
    """A branch of `gsimplicit.bifurcation.branch.follow`: the largest value of the observed species along it.

    Solid where it is stable, dotted where it is not, dashed where no eigenvalues were asked for. Folds are triangles,
    points where it loses or gains stability are diamonds, filled where the eigenvalue that crosses is real.

    Args:
        branch: What `follow` gave.
        ax: Axes to draw into.
        color: Of the branch.
        label: Of the branch in a legend; None is none.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> from matplotlib.figure import Figure
        >>> start = gs.initial_state(grid=(16, 16), noise=0.0, box=gs.Box(half=3))
        >>> root = gs.steady_state(gs.Params(0.16, 0.08, 0.035, 0.062), start, refine=True)
        >>> ax = branch(follow(root, "k", max_points=5), Figure().subplots())
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('k', 'largest v')
    """
    seen = branch.model.seen
    k, height = branch.values, branch.fields[:, seen].max(axis=(1, 2))
    if branch.eigenvalues.shape[1]:
        stable = branch.eigenvalues[:, 0].real <= 1e-6
        # the step over which stability changes is drawn as unstable
        changes = np.r_[stable[:-1] != stable[1:], False]
        parts = [("-", stable), (":", ~stable | changes | np.roll(changes, 1))]
    else:
        parts = [("--", np.ones(len(k), dtype=bool))]
    for n, (style, chosen) in enumerate(parts):
        x, y = (np.where(chosen, values, np.nan) for values in (k, height))
        ax.plot(x, y, color=color, ls=style, lw=1.6, label=label if n == 0 else None)
    for fold in branch.folds:
        ax.plot(fold.value, fold.fields[seen].max(), ">", color=color, mfc="w", ms=6, zorder=3)
    for one in branch.instabilities:
        fill = color if one.eigenvalue.imag == 0 else "w"
        ax.plot(one.value, one.fields[seen].max(), "D", color=color, mfc=fill, ms=5, zorder=3)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(xlabel=as_it_stands(branch.parameter), ylabel=as_it_stands(f"largest {branch.model.observed}"))
    return ax

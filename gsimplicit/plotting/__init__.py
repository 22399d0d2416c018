"""Figures of states, branches, landscapes and comparisons.

Functions draw into given axes, return them, and never touch global state. Figures made here are not pyplot's: nothing
keeps them, they need no display and no backend, and may be drawn on any thread. Save them with `savefig`; notebooks
show them. To have one in a window, give `states`, `landscape` or `comparison` a figure of pyplot to draw into.

Colours differ in lightness, and lines and points in style or shape as well: figures can be read in grey, and without
colour vision.
"""

from __future__ import annotations

from gsimplicit.plotting.branches import branch
from gsimplicit.plotting.comparison import comparison
from gsimplicit.plotting.figures import label
from gsimplicit.plotting.landscapes import class_map, cliff_lines, landscape, line, plane
from gsimplicit.plotting.states import states

__all__ = ["branch", "class_map", "cliff_lines", "comparison", "label", "landscape", "line", "plane", "states"]

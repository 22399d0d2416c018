"""The claims of arXiv 2606.11258 by section, in a few words: those tested here, and those not yet."""

from __future__ import annotations

from studies._claims import Statement

STEADY_STOP = Statement("sec. 2.1", "The stop is a steady state", "no pixel changes by 1e-4")
ALL_STEADY = Statement("sec. 2.1, implied", "Every pattern becomes steady")
NO_GROWTH = Statement("sec. 2.1, implied", "Nothing grows at the stop")
TRUTH_ZERO = Statement("sec. 2.1, implied", "Loss is 0 at the truth", "starts are shared")
STEP_LIMIT = Statement("sec. 2.2", "D up to 1/4 is stable", "D <= 1/4, steps of 1")
HEIGHT = Statement("sec. 3.1, 3.2", "High plateau at one level", "245 to 270; windowed near 230")
LINE_CLIFFS = Statement("sec. 4.1, fig. 2", "Sharp cliffs along each parameter")
LINE_FLAT = Statement("sec. 4.1, fig. 2", "Wide flat areas beside them")
MISSING_ENDS = Statement("fig. 2", "Two ends missing: v diverges", "left of Dv, right of Du")
PLANE_CLIFFS = Statement("sec. 4.1, fig. 3", "Sharp cliffs across each plane")
NO_SIGNAL = Statement("sec. 4.1", "Plateaus give no gradient", '"negligible"')
OTHER_LOSSES = Statement("sec. 4.2, fig. 5", "Cliffs recur across losses", "alike by eye")
LEFT_CLIFF = Statement("sec. 5.1", "Left cliff is a bifurcation", '"surprisingly close"')
RIGHT_CLIFF = Statement("sec. 5.1", "Right cliff is a bifurcation", '"surprisingly close"')
LIMIT_CYCLES = Statement("sec. 5.1", "Plateau holds stopped oscillations", '"a candidate"')
UNROLLED = Statement("sec. 5.1", "Unrolled route inherits the cliffs")
IMPLICIT = Statement("sec. 5.1", "Implicit route inherits the cliffs")
SURROGATE = Statement("sec. 5.1", "A surrogate inherits the cliffs")
OTHER_ROUTES = Statement("sec. 5.1", "Any other route inherits the cliffs")

ROUTES = {"unrolled": UNROLLED, "implicit": IMPLICIT, "surrogate": SURROGATE}
"""Routes the paper names; its claim is of all."""

TESTED = (
    STEADY_STOP, ALL_STEADY, NO_GROWTH, TRUTH_ZERO, STEP_LIMIT, HEIGHT, LINE_CLIFFS, LINE_FLAT, MISSING_ENDS,
    PLANE_CLIFFS, NO_SIGNAL, OTHER_LOSSES, LEFT_CLIFF, RIGHT_CLIFF, LIMIT_CYCLES, UNROLLED, IMPLICIT, SURROGATE,
    OTHER_ROUTES,
)  # fmt: skip
"""In the paper's order, which is that of every table."""

NOT_YET = (
    Statement("sec. 2.1", "Gradients neither explode nor vanish"),
    Statement("sec. 3.1", "Training never leaves the plateau", "245 to 270 for tens of hours"),
    Statement("sec. 3.1, fig. 1", "Low loss is no good fit", "2 of 7 patterns, 1 of them right"),
    Statement("sec. 4.2, fig. 5c", "A VGG loss has cliffs too", "0 to 100"),
    Statement("sec. 5.1, fig. 4", "Patterns change gradually inside", "7 x 7 patterns, by eye"),
    Statement("sec. 5.1", "Earlier states change more regularly"),
    Statement("sec. 6.2, fig. 6", "The residual loss is a bowl", "quadratic in the parameters"),
    Statement("sec. 6.3", "A network cannot mend the landscape"),
    Statement("app. B, fig. 7", "Cliffs surround the patterns", "30 x 30 points"),
    Statement("app. C, fig. 9, 10", "Other starts, similar patterns"),
    Statement("app. D", "One run reached the target's look", "after 9,016 iterations"),
)
"""No study decides these yet."""

"""The claims of arXiv 2606.11258 by section, in a few words: in its order; which of them no study decides yet."""

from __future__ import annotations

from studies._claims import Statement

GRADIENT_SIZE = Statement("sec. 2.1", "Gradients neither explode nor vanish", '"none observed"')
STEADY_STOP = Statement("sec. 2.1", "The stop is a steady state", "no pixel changes by 1e-4")
ALL_STEADY = Statement("sec. 2.1, implied", "Every pattern becomes steady")
NO_GROWTH = Statement("sec. 2.1, implied", "Nothing grows at the stop")
UNIT_STEPS = Statement("sec. 2.1, implied", "Steps of 1 make no cliff", "dt = dx = 1")
TRUTH_ZERO = Statement("sec. 2.1, implied", "Loss is 0 at the truth", "starts are shared")
SAFEGUARDS = Statement("sec. 2.2", "Smaller rates keep training finite", '"completely"')
STEP_LIMIT = Statement("sec. 2.2, implied", "D up to 1/4 is stable", "D <= 1/4, steps of 1")
NO_CONVERGENCE = Statement("sec. 3", "Training does not converge")
BAND = Statement("sec. 3.1", "Training stays on the plateau", "245 to 270, no trend")
EXCURSIONS = Statement("sec. 3.1", "Rare drops, soon undone", "back within a few iterations")
LOW_LOSS = Statement("sec. 3.1, fig. 1", "Low loss is no good fit", "2 of 7 patterns, 1 of them right")
HEIGHT = Statement("sec. 3.1, 3.2", "High plateau at one level", "245 to 270; windowed near 230")
WINDOWED_BAND = Statement("sec. 3.2", "Windowed training is no better", "near 230, no trend")
POLARIZED = Statement("sec. 3.2, fig. 1", "Windowed losses are high or low", '"little in between"')
SEPARATES = Statement("sec. 3.2, fig. 1", "Windowed loss tells more apart", '"some" patterns')
EXPLORED = Statement("sec. 3.2", "Steps are small, search is long", "hundreds of iterations a move")
LINE_CLIFFS = Statement("sec. 4.1, fig. 2", "Sharp cliffs along each parameter")
LINE_FLAT = Statement("sec. 4.1, fig. 2", "Wide flat areas beside them")
MISSING_ENDS = Statement("fig. 2", "Two ends missing: v diverges", "left of Dv, right of Du")
PLANE_CLIFFS = Statement("sec. 4.1, fig. 3", "Sharp cliffs across each plane")
NO_SIGNAL = Statement("sec. 4.1", "Plateaus give no gradient", '"negligible"')
OTHER_LOSSES = Statement("sec. 4.2, fig. 5", "Cliffs recur across losses", "alike by eye")
GRAM_RANGE = Statement("sec. 4.2, fig. 5c", "VGG loss spans a smaller range", "0 to 100 against 0 to 200+")
GRAM_PLATEAU = Statement("sec. 4.2, fig. 5c", "Its uniform plateau is at mid-level")
GRAM_ROUGH = Statement("sec. 4.2, fig. 5c", "It fluctuates between patterns")
GRAM_CLIFFS = Statement("sec. 4.2, fig. 5c", "A VGG loss has cliffs too")
GRAM_SLOPE = Statement("sec. 4.2, fig. 8", "Its one slope is cut off", "ridges and cliffs around it")
LEFT_CLIFF = Statement("sec. 5.1", "Left cliff is a bifurcation", '"surprisingly close"')
RIGHT_CLIFF = Statement("sec. 5.1", "Right cliff is a bifurcation", '"surprisingly close"')
CUSPS = Statement("sec. 5.1", "Cliffs form cusps as the curves do", '"similar cusps"')
DIFFUSION = Statement("sec. 5.1", "Small shifts come from diffusion", '"likely"')
LIMIT_CYCLES = Statement("sec. 5.1", "Plateau holds stopped oscillations", '"a candidate"')
FLASHES = Statement("sec. 5.1", "Loops look uniform, with flashes", '"for a long time"')
CONFINED = Statement("sec. 5.1", "Training lives among uniform states", '"mostly"')
WEAK_INSIDE = Statement("sec. 5.1", "Gradients among patterns are noisy", '"weak and noisy"')
ONE_STEP = Statement("sec. 5.1", "One step crosses a cliff", '"a single misguided step"')
UNROLLED = Statement("sec. 5.1", "Unrolled route inherits the cliffs")
IMPLICIT = Statement("sec. 5.1", "Implicit route inherits the cliffs")
SURROGATE = Statement("sec. 5.1", "A surrogate inherits the cliffs")
OTHER_ROUTES = Statement("sec. 5.1", "Any other route inherits the cliffs")
GRADUAL = Statement("sec. 5.1, fig. 4", "Patterns change gradually inside", "7 x 7 patterns, by eye")
ALIKE = Statement("sec. 5.1", "Patterns grow more alike in time")
FROM_PATTERNS = Statement("sec. 5.1", "Uniform states come from patterns")
EARLIER = Statement("sec. 5.1", "Earlier states change more regularly")
BOTH_SIDES = Statement("sec. 5.1", "Early change on both cliff sides", '"may be present"')
BETTER_LOSS = Statement("sec. 5.2", "A better loss escapes the plateau", '"achievable"')
TIME_INPUT = Statement("sec. 5.2", "Time as a network's input helps", '"can"')
ON_THE_WAY = Statement("sec. 5.2", "Supervision on the way helps", '"may"')
BACKWARD = Statement("sec. 6.1", "From patterns back, no landscape", "a network, by others")
COARSE = Statement("sec. 6.1", "Such a network is coarse", '"coarse"')
PINN_AVOIDS = Statement("sec. 6.1", "PINNs avoid the landscape's faults")
BOWL = Statement("sec. 6.2, fig. 6", "The residual loss is a bowl", "quadratic in the parameters")
ALL_STARTS = Statement("sec. 6.2", "Residual loss sees every start", '"all initial conditions at once"')
HAD_ALREADY = Statement("sec. 6.2", "Residual loss has what remedies seek", '"already"')
SEPARATE = Statement("sec. 6.2, eq. 7, 8", "Data and residual loss separate")
EASY_WEIGHTS = Statement("sec. 6.3", "Both losses descend over weights", "by analogy")
SPACE_TIME = Statement("sec. 6.3, 7", "So they do in space-time", "left open")
NO_REPAIR = Statement("sec. 6.3", "A network cannot mend the landscape")
COMPLETES = Statement("sec. 6.4", "The network completes the data")
ONLY_COMPLETES = Statement("sec. 6.4", "It does nothing else")
DETOUR = Statement("sec. 6.4", "Time as an input is a detour", '"one example"')
ENCLOSED = Statement("app. B, fig. 7", "Cliffs surround the patterns", "30 x 30 points")
OTHER_STARTS = Statement("app. C, fig. 9, 10", "Other starts, similar patterns", "6 x noise; random boxes")
ONE_RUN = Statement("app. D", "One run reached the target's look", "after 9,016 iterations")

ROUTES = {"unrolled": UNROLLED, "implicit": IMPLICIT, "surrogate": SURROGATE}
"""Routes the paper names; its claim is of all."""

PAPER = (
    GRADIENT_SIZE,
    STEADY_STOP,
    ALL_STEADY,
    NO_GROWTH,
    UNIT_STEPS,
    TRUTH_ZERO,
    SAFEGUARDS,
    STEP_LIMIT,
    NO_CONVERGENCE,
    BAND,
    EXCURSIONS,
    LOW_LOSS,
    HEIGHT,
    WINDOWED_BAND,
    POLARIZED,
    SEPARATES,
    EXPLORED,
    LINE_CLIFFS,
    LINE_FLAT,
    MISSING_ENDS,
    PLANE_CLIFFS,
    NO_SIGNAL,
    OTHER_LOSSES,
    GRAM_RANGE,
    GRAM_PLATEAU,
    GRAM_ROUGH,
    GRAM_CLIFFS,
    GRAM_SLOPE,
    LEFT_CLIFF,
    RIGHT_CLIFF,
    CUSPS,
    DIFFUSION,
    LIMIT_CYCLES,
    FLASHES,
    CONFINED,
    WEAK_INSIDE,
    ONE_STEP,
    UNROLLED,
    IMPLICIT,
    SURROGATE,
    OTHER_ROUTES,
    GRADUAL,
    ALIKE,
    FROM_PATTERNS,
    EARLIER,
    BOTH_SIDES,
    BETTER_LOSS,
    TIME_INPUT,
    ON_THE_WAY,
    BACKWARD,
    COARSE,
    PINN_AVOIDS,
    BOWL,
    ALL_STARTS,
    HAD_ALREADY,
    SEPARATE,
    EASY_WEIGHTS,
    SPACE_TIME,
    NO_REPAIR,
    COMPLETES,
    ONLY_COMPLETES,
    DETOUR,
    ENCLOSED,
    OTHER_STARTS,
    ONE_RUN,
)
"""All, in the paper's order, which is that of every table."""

NOT_YET: tuple[Statement, ...] = ()
"""No study decides these yet."""

TESTED = tuple(s for s in PAPER if s not in NOT_YET)
"""Those that a study tests."""

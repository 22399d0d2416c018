"""Constants of arXiv 2606.11258 that several studies use."""

from __future__ import annotations

TRUTH = (0.16, 0.08, 0.035, 0.065)
"""Du, Dv, F, k of the targets (section 2.1)."""
START = (0.1270, 0.1269, 0.0500, 0.0501)
"""Where its training starts (appendix D)."""
PIVOT = (0.1285, 0.0734, 0.0429, 0.0682)
"""Where its first 8,918 iterations ended (appendix D)."""
PIVOT_2 = (0.1343, 0.0679, 0.0429, 0.0653)
"""Where 98 more ended, at a rate of 1e-3 (appendix D)."""
F_RANGE, K_RANGE = (0.03, 0.07), (0.053, 0.068)
"""Its F-k plane (section 4.1, figures 3 to 5)."""

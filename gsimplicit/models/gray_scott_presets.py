"""Named sets of parameters of Gray-Scott, translated to pixels of width 1."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_PEARSON = (2e-5 / (2.5 / 256) ** 2, 1e-5 / (2.5 / 256) ** 2)
"""Diffusion of Pearson, Science 261, 189 (1993): 256 pixels over a length of 2.5."""

_PEARSON_RATES = {"epsilon": (0.014, 0.055), "theta": (0.046, 0.061), "mu": (0.050, 0.065)}
"""F and k of three of his classes, as R. Munafo's extended classification has them."""

_THE_WELL = (2e-5 / (2 / 128) ** 2, 1e-5 / (2 / 128) ** 2)
"""Diffusion of the data set gray_scott_reaction_diffusion of The Well (arXiv 2412.00568): 128 pixels over [-1, 1]."""

_THE_WELL_RATES = {
    "gliders": (0.014, 0.054),
    "bubbles": (0.098, 0.057),
    "maze": (0.029, 0.057),
    "worms": (0.058, 0.065),
    "spirals": (0.018, 0.051),
    "spots": (0.030, 0.062),
}
"""Its F and k."""


PRESETS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "paper": (0.16, 0.08, 0.035, 0.065),
        "paper_start": (0.1270, 0.1269, 0.0500, 0.0501),
        "paper_pivot_1": (0.1285, 0.0734, 0.0429, 0.0682),
        "paper_pivot_2": (0.1343, 0.0679, 0.0429, 0.0653),
        **{f"pearson_{name}": (*_PEARSON, F, k) for name, (F, k) in _PEARSON_RATES.items()},
        **{f"the_well_{name}": (*_THE_WELL, F, k) for name, (F, k) in _THE_WELL_RATES.items()},
        "karl_sims": (0.15, 0.075, 0.055, 0.062),
    }
)
"""Ground truth (section 2.1) and the training trajectory of appendix D of arXiv 2606.11258; and presets of other
sources, translated to pixels of width 1."""

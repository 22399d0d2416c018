"""The names of the studies in the order in which they run and are shown: the paper's figures, then its questions."""

ORDER = (
    "fig1",
    "fig2",
    "fig3",
    "fig4",
    "fig5",
    "fig6",
    "fig7",
    "fig8",
    "fig9",
    "fig10",
    "early",
    "animations",
    "steps",
    "training",
    "inversion",
    "pinn",
    "remedies",
    "routes",
    "steady",
    "bifurcations",
    "basins",
    "gradients_at_a_cliff",
)
"""Each a file of this folder."""

"""The modules all of whose public names are documented, each with an example that runs."""

MODULES = (
    "gsimplicit",
    "gsimplicit.models",
    "gsimplicit.routes",
    "gsimplicit.losses",
    "gsimplicit.plotting",
    "gsimplicit.testing",
    "gsimplicit.bifurcation.branch",
    "gsimplicit.bifurcation.edge",
    "gsimplicit.bifurcation.fold",
    "gsimplicit.bifurcation.lifetime",
    "gsimplicit.bifurcation.uniform",
)

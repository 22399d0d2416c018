"""`python -m studies._inversion_table [folder]`: the tables of docs/inversion.md from the datasets of a finished run.

The folder is that of a scale, `output/paper` say; what is printed is to be pasted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr

from studies._by_route_claims import NEAR
from studies._by_route_claims import rows as rows_of_routes
from studies.inversion import cases

WORDS = {
    "an open window of 3/4 the side": "an open window of {0} x {0}, v",
    "an open window of half the side": "an open window of {1} x {1}, v",
}


def rows(data: dict[str, xr.Dataset]) -> list[str]:
    """Lines of the table of drawn truths."""
    side = data["inversion_roots"].sizes["x"]
    out = [
        "| seen | noise | found | median error | worst | intervals that hold the truth | median seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for d in cases(data):
        seen = str(d["seen"].values)
        words = WORDS.get(seen, seen).format(3 * side // 4, side // 2)
        good = d["found"].values.astype(bool)
        error, held = d["error"].values[good], d["held"].values[good]
        numbers = (
            f"{np.median(error):.2g} % | {error.max():.2g} % | {100 * held.mean():.0f} %" if len(error) else "none | | "
        )
        out.append(
            f"| {words} | {float(d['noise']):g} % | {good.sum()} of {len(good)} | {numbers} | "
            f"{float(np.median(d['seconds'])):.1f} |"
        )
    return out


def by_route(fits: xr.Dataset) -> list[str]:
    """Lines of the table of descents by each route."""
    out = [
        f"| route | recovered | within {NEAR:g} % | ended for want of a gradient | no state | median gradients |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for route, r in rows_of_routes(fits).items():
        out.append(f"| {route} | {r.recovered} of {r.tried} | {r.near} | {r.flat} | {r.nowhere} | {r.calls:g} |")
    return out


def main(folder: Path) -> None:
    """Print them."""
    names = ("inversion_roots", "inversion_fits")
    print("\n".join(rows({name: xr.load_dataset(folder / f"{name}.nc") for name in names})))
    print("\n".join(["", *by_route(xr.load_dataset(folder / "inversion_routes.nc"))]))


if __name__ == "__main__":
    given = Path(sys.argv[1] if len(sys.argv) > 1 else "output/default")
    if not (given / "inversion_fits.nc").exists():
        sys.exit(f"no inversion_fits.nc in {given}: `python -m studies inversion` makes it; the folder is an argument")
    main(given)

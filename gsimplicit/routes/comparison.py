"""The table of `compare`: a dataset over routes."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import torch
import xarray as xr

from gsimplicit import notebooks
from gsimplicit.equations import ModelParams
from gsimplicit.results import Status
from gsimplicit.routes.compare import Reason, Row, reason
from gsimplicit.routes.route import Route

__all__ = ["Comparison", "table"]


class Comparison(xr.Dataset):  # type: ignore[no-untyped-call]
    """A dataset over routes that prints as a table; a part of it prints as any dataset does."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self._whole:
            return super().__repr__()
        lines = [self._title]
        for b in range(self.sizes["instance"]):
            rows = self._rows(b)
            widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
            lines += [f"instance {b}: {self._at(b)}"]
            lines += ["  " + "  ".join(t.rjust(w) for t, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self._whole:
            return str(super()._repr_html_())
        shown = min(self.sizes["instance"], notebooks.MOST)
        parts = []
        for b in range(shown):
            heads, *rows = self._rows(b)
            more = self.sizes["instance"] - shown if b == shown - 1 else 0
            parts.append(notebooks.table(f"Instance {b}: {self._at(b)}", [*heads[:-1], "why"], rows, more))
        title, _, root = self._title.partition("\n")
        return f"<p>{escape(title)}{f'; {escape(root)}' if root else ''}</p>{''.join(parts)}"

    @property
    def _whole(self) -> bool:
        """Whether it is the table of `compare`, and not a part of it."""
        return {"route", "instance", "parameter"} <= set(self.dims) and {"reason", "gradient"} <= set(self)

    @property
    def _title(self) -> str:
        title = f"Routes for the {self.attrs.get('loss')} loss, against {self.attrs.get('reference')}"
        root = self.attrs.get("root_seconds")
        return f"{title}\none root for all, found in {root:.2f} s" if root else title

    def _at(self, b: int) -> str:
        """The parameters of an instance."""
        names = map(str, self["parameter"].values)
        return ", ".join(f"{n} {float(self[f'parameter_{n}'].isel(instance=b)):.6g}" for n in names)

    def _rows(self, b: int) -> list[list[str]]:
        """The table of an instance, its heads first."""
        names = [str(name) for name in self["parameter"].values]
        rows = [["route", "status", "loss", *names, "cosine", "difference", "seconds", "MiB", "products", ""]]
        for r, name in enumerate(self["route"].values):
            one = self.isel(instance=b, route=r)
            rows.append(
                [
                    str(name),
                    Status(int(one["route_status"])).name.lower(),
                    f"{float(one['route_loss']):.6g}",
                    *(f"{float(g):.5g}" for g in one["gradient"]),
                    f"{float(one['cosine']):.6f}",
                    f"{float(one['difference']):.1e}",
                    f"{float(one['seconds']):.2f}",
                    f"{float(one['memory']):.0f}",
                    str(int(one["products"])),
                    Reason(int(one["reason"])).name.lower().replace("_", " "),
                ]
            )
        return rows


def table(rows: list[Row], routes: list[Route], params: ModelParams, settings: dict[str, Any]) -> Comparison:
    """The dataset of what the routes gave, compared with the first."""
    gradient = torch.stack([row.gradient for row in rows])
    cosine, difference = _compared(gradient, routes)
    reasons = np.array(
        [[reason(rows, r, b, difference) for b in range(len(params))] for r in range(len(rows))], np.int8
    )
    over = ("route", "instance")
    words: dict[str, tuple[tuple[str, ...], Any, str]] = {
        "gradient": ((*over, "parameter"), gradient.numpy(), "derivative of the loss in each parameter"),
        "route_loss": (over, torch.stack([r.loss for r in rows]).numpy(), "loss at the route's own state"),
        "route_status": (over, torch.stack([r.state.status for r in rows]).numpy(), "how the route's own state ended"),
        "definition": (over, np.array([r.certificate.definition for r in rows]), "what was differentiated"),
        "cosine": (over, cosine.numpy(), "cosine of the angle to the first route's gradient"),
        "difference": (over, difference.numpy(), "relative difference to the first route's gradient"),
        "products": (over, torch.stack([r.certificate.products for r in rows]).numpy(), "work of the gradient alone"),
        "reason": (over, reasons, "why the gradient differs from the first route's"),
        "seconds": (("route",), np.array([r.seconds for r in rows]), "wall time of state and gradient, s"),
        "memory": (("route",), np.array([r.memory for r in rows]), "growth of the resident memory, MiB"),
    }
    data = xr.Dataset({n: (dims, v, {"long_name": w, "units": "1"}) for n, (dims, v, w) in words.items()})
    data["seconds"].attrs["units"], data["memory"].attrs["units"] = "s", "MiB"
    data["reason"].attrs |= {
        "flag_values": np.array([int(m) for m in Reason], np.int8),
        "flag_meanings": " ".join(m.name.lower() for m in Reason),
    }
    names, parameters = _names(routes), params.model.parameters
    values = params.tensor().numpy()
    data = data.assign_coords(route=names, instance=np.arange(len(params)), parameter=list(parameters))
    data = data.assign_coords({f"parameter_{name}": ("instance", values[:, j]) for j, name in enumerate(parameters)})
    return Comparison(data.data_vars, data.coords, {**settings, "reference": names[0]})


def _names(routes: list[Route]) -> list[str]:
    """A name a route: one route may come with several settings."""
    names: list[str] = []
    for route in routes:
        name, count = route.name, 1
        while name in names:
            count += 1
            name = f"{route.name} {count}"
        names.append(name)
    return names


def _compared(gradient: torch.Tensor, routes: list[Route]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and relative difference of gradients (R, B, P) to the first, each of shape (R, B)."""
    # compared in the parameters both answer for: a surrogate has none in those its training did not vary
    every = (True,) * gradient.shape[-1]
    answers = [route.answers or every for route in routes]
    answered = torch.tensor([[a and b for a, b in zip(own, answers[0], strict=True)] for own in answers])
    ours, theirs = (torch.where(answered[:, None, :], g, 0.0) for g in (gradient, gradient[0]))
    lengths, size = ours.norm(dim=-1), theirs.norm(dim=-1)
    cosine = (ours * theirs).sum(dim=-1) / (lengths * size)
    difference = (ours - theirs).norm(dim=-1) / size
    both_zero = (lengths == 0) & (size == 0)
    cosine[both_zero], difference[both_zero] = 1.0, 0.0
    return cosine, difference

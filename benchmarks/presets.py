"""`python -m benchmarks.presets`: what every preset does from the default start, for docs/units.md; some 20 seconds."""

from __future__ import annotations

import gsimplicit as gs


def main() -> None:
    """Print a line a preset."""
    start = gs.initial_state()
    for name in gs.Params.PRESETS:
        state = gs.steady_state(gs.Params.preset(name), start, max_steps=20_000)
        v, status, kind = state.v[0], gs.Status(int(state.status[0])), gs.Kind(int(state.kind[0]))
        print(
            f"{name:18s} {status.name.lower():9s} {kind.name.lower():8s} "
            f"after {int(state.steps[0]):6d} steps, change {state.change[0].item():.1e}, "
            f"v mean {v.mean().item():.3f}, largest {v.max().item():.3f}"
        )


if __name__ == "__main__":
    main()

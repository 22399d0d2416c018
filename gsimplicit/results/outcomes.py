"""How a solve ends and what it ends at, as words that are stored as integers."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """How a solve ended. Stored as these integers.

    Examples:
        >>> import gsimplicit as gs
        >>> gs.Status(4).name, gs.Status.SETTLED.value
        ('DRIFTING', 2)
    """

    NOT_RUN = 0
    FIXED = 1
    """Marched exactly the steps asked for."""
    SETTLED = 2
    """The stop test of the march fired."""
    STEADY = 3
    """The raw steady residual is certified."""
    DRIFTING = 4
    """The bordered residual is certified: a rigid pattern that still drifts slowly."""
    UNSTEADY = 5
    """The cap on steps or evaluations was reached first."""
    DIVERGED = 6
    """The fields are no longer finite."""
    FAILED = 7
    """A solver gave up: Newton's method at a slow state, or the adjoint of a route in a scan."""


class Kind(IntEnum):
    """What a state looks like. Stored as these integers.

    Examples:
        >>> import gsimplicit as gs
        >>> gs.Kind(3).name
        'PATTERN'
    """

    UNKNOWN = 0
    TRIVIAL = 1
    """As the model has it: for Gray-Scott max v < 0.01."""
    UNIFORM = 2
    """Standard deviation of the observed species < 1e-3."""
    PATTERN = 3


class Stable(IntEnum):
    """Whether a root is linearly stable, where eigenvalues were asked for. Stored as these integers.

    Examples:
        >>> import gsimplicit as gs
        >>> [s.name for s in gs.Stable]
        ['UNKNOWN', 'YES', 'NO']
    """

    UNKNOWN = 0
    YES = 1
    NO = 2


class Motion(IntEnum):
    """What an unsteady state does, where refinement gave it up. Stored as these integers.

    Examples:
        >>> import gsimplicit as gs
        >>> gs.Motion(3).name
        'REARRANGING'
    """

    UNKNOWN = 0
    TRAVELLING = 1
    """It moves without changing shape, too unevenly for a root."""
    OSCILLATING = 2
    """It comes back to where it was."""
    REARRANGING = 3
    """It changes without coming back."""
    OVERSHOOTING = 4
    """The explicit step throws it back and forth: the equations let it come to rest, such a step does not."""

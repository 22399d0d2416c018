"""Fields as a network, trained together with the parameters: the steady form of a physics-informed network."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from gsimplicit import checks
from gsimplicit.equations import Model, ModelParams
from gsimplicit.inverse.method import Method, Question
from gsimplicit.progress import line
from gsimplicit.surroundings import own_surroundings, untraced
from gsimplicit.threads import each

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer
    from gsimplicit.inverse.network.trained import Trained

RATES = {"network": 2e-3, "pixels": 1e-2, "smooth": 1e-2}
"""Adam's rate by what stands for the fields."""

HEAVIEST = 1e9
"""Most of a rate, a reach or a weight: beyond it a loss is rounding."""


@dataclass(frozen=True)
class Network(Method):
    """A network for the species, data loss and steady residual loss, and parameters learned with it.

    Method: M. Raissi, P. Perdikaris and G. E. Karniadakis, Journal of Computational Physics 378, 686 (2019), brought to
    one steady picture as arXiv 2606.11258, section 6.2, eq. 7, does. The loss is `data + weight residual`: squared
    deviations by the picture's variance, and the squared residual on the grid's own stencil by the size of its terms.
    Free pixels and smooth pixels can stand for the fields in place of the network; all else is the same.

    It gives no intervals: those of its answers are NaN. An answer is FOUND where four things hold: the deviations are
    noise, or at most 1 % of the pattern; the residual is below 1 % of its terms; the loss no longer falls, or no
    parameter changed by more than 1 % over the last fifth of the iterations; and one linear step of the one-shot method
    would change none by more than 10 %. `polish` lets the one-shot method go on
    from there, which decides and gives intervals. Drift is not modelled. Of a noisy picture a FOUND may be several per
    cent off. Where picture and equations leave a combination of the parameters uncertain by a factor of e,
    it is UNIDENTIFIED.

    Attributes:
        fields: What stands for them: "network", "pixels" or "smooth".
        width: Units of each hidden layer, >= 1.
        depth: Hidden layers, >= 1.
        waves: Integer wave vectors at most whose sine and cosine the network sees, >= 1.
        reach: Their standard deviation, radians a pixel, > 0, <= 1e9; of smooth pixels, the wave number that passes to
            a half.
        weight: By which the residual loss counts, > 0, <= 1e9.
        parameters: Learned by "gradient", or in "closed form" at every evaluation, which needs a residual that is
            linear in what is sought with a part without it (Gray-Scott has).
        adam: Steps of Adam, >= 0.
        lbfgs: Iterations of L-BFGS at most, >= 0.
        rate: Adam's first rate, > 0, <= 1e9; None is one that suits `fields`.
        seconds: CPU seconds at most, > 0, a quarter of them for Adam; the numbers then depend on the machine.
        dtype: Of Adam's arithmetic, torch.float32 or torch.float64; L-BFGS computes in float64.
        seed: Of wave vectors and first weights.
        store: Folder in which the training is kept, and gone on from after a kill; made where it is missing. Other
            settings, more steps or seconds among them, begin anew. None keeps nothing.
        polish: Whether the one-shot method goes on from where the training ends.

    Raises:
        ValueError: A setting lies outside its range.
        TypeError: A setting is of another type.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import Network
        >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
        >>> result = gs.invert(v, method=Network(fields="pixels", adam=200, lbfgs=1500))
        >>> result.verdict.item() == gs.Recovery.FOUND, abs(result.params.k.item() - 0.065) < 1e-3
        (True, True)
    """

    name: ClassVar[str] = "network"
    fields: str = "network"
    width: int = 64
    depth: int = 3
    waves: int = 48
    reach: float = 0.35
    weight: float = 1.0
    parameters: str = "closed form"
    adam: int = 1000
    lbfgs: int = 4000
    rate: float | None = None
    seconds: float = math.inf
    dtype: torch.dtype = torch.float64
    seed: int = 0
    store: str | os.PathLike[str] | None = None
    polish: bool = False

    def __post_init__(self) -> None:
        positive = ("reach", "weight") + (("rate",) if self.rate is not None else ())
        values = {
            "fields": checks.choice("fields", self.fields, RATES),
            "parameters": checks.choice("parameters", self.parameters, ("gradient", "closed form")),
            **{n: checks.integer(n, getattr(self, n), 1) for n in ("width", "depth", "waves")},
            **{n: checks.integer(n, getattr(self, n), 0) for n in ("adam", "lbfgs")},
            **{n: checks.real(n, getattr(self, n), above=0, most=HEAVIEST) for n in positive},
            "seconds": checks.real("seconds", self.seconds, above=0, finite=False),
            "dtype": checks.floats("dtype", self.dtype) or torch.float64,
            "seed": checks.integer("seed", self.seed, 0, 2**50),
            "polish": checks.flag("polish", self.polish),
        }
        if math.isnan(self.seconds):
            raise ValueError("seconds must be > 0, got nan")
        if self.store is not None and not isinstance(self.store, str | os.PathLike):
            raise TypeError(f"store must be a folder or None, got {checks.shown(self.store)}")
        checks.keep(self, values)

    def check(self, question: Question) -> None:
        """Refuse several pictures of one set, an unknown gain, and what has no closed form.

        Raises:
            ValueError: One of them was asked for.
        """
        from gsimplicit.inverse.answers.prepared import require
        from gsimplicit.inverse.network.objective import linear

        require(self.name, question, one=True)
        free = [question.model.parameters.index(n) for n in question.wanted.free]
        if self.parameters == "closed form" and not linear(question.model, free):
            raise ValueError(
                f"{question.model.name} has no closed form for {', '.join(question.wanted.free)}: its residual must be "
                "linear in them, with a part without them; give parameters='gradient'"
            )

    @untraced
    @own_surroundings
    def train(
        self,
        v: Any,
        u: Any = None,
        mask: Any = None,
        start: ModelParams | None = None,
        *,
        model: Model | None = None,
        free: Sequence[str] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        progress: bool = True,
    ) -> Trained:
        """Train on one picture, and give back what was trained, whatever it is worth.

        `gs.invert` with this method does the same and judges it. Words are those of `gs.invert`, and so are the errors.

        Args:
            v: One picture of the observed species, in the model's own units, shape (H, W) or (1, H, W), at least 8 x 8
                pixels of a periodic field; or of all species, (1, S, H, W).
            u: A picture of the other one of two species, of the same shape; None where it was not seen.
            mask: True where a pixel was measured, shape (H, W) or (1, H, W); None where all were.
            start: Parameters to begin at, one set; None is the middle of where they are looked for. Those that are not
                free stay as they are there. In "closed form" those that are free follow from the fields at once.
            model: The model; None is that of `start`, or Gray-Scott.
            free: Names of the parameters that are sought; None seeks all.
            ranges: Where to look for a start, a lowest and a highest value by name.
            progress: Whether a line says what goes on, where the output is a terminal.

        Returns:
            Fields, parameters, the record of losses and parameters, weights, and the losses as functions.

        Raises:
            ValueError: There is more than one picture, or as of `gs.invert`; a store is damaged.
            TypeError: An argument has a wrong type.

        Examples:
            >>> import gsimplicit as gs
            >>> from gsimplicit.inverse.methods import Network
            >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
            >>> trained = Network(fields="smooth", adam=200, lbfgs=1500).train(v, progress=False)
            >>> losses = trained.record.data_loss + trained.record.residual_loss
            >>> abs(trained.params.k.item() - 0.065) < 1e-3, bool(losses[-1] < losses[0])
            (True, True)
        """
        from gsimplicit.inverse.asked import asked
        from gsimplicit.inverse.network.questioned import training
        from gsimplicit.inverse.network.trained import Trained

        shown = checks.flag("progress", progress)
        questions = asked(self, v, u, mask, start, model=model, free=free, ranges=ranges).questions
        if len(questions) > 1:
            raise ValueError(f"v must be one picture, got {len(questions)}: train on each by itself")
        one, begin = training(self, questions[0])
        with line("train", shown):
            (end,) = each(one.run, [begin])
        return Trained.of(one, end)

    def recover(self, question: Question) -> Answer:
        """Fields and parameters as trained, and whether they explain the picture."""
        from gsimplicit.inverse.network.judged import recover

        return recover(self, question)

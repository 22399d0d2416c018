"""The contract that every method of `invert` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit.equations import Model
from gsimplicit.inverse.pictures.question import Pictures, Wanted

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer


@dataclass(frozen=True, eq=False)
class Question:
    """What a method is asked: one set of parameters.

    Attributes:
        model: The model.
        pictures: Of states of that set.
        wanted: What is sought, and where.
        noise: Standard deviation of the noise of each seen species; None where it is to be estimated.
        affine: Whether gain and offset of the observed species are unknown.
    """

    model: Model
    pictures: Pictures
    wanted: Wanted
    noise: Sequence[float | None]
    affine: bool = False


class Method(ABC):
    """A way from pictures to parameters: settings, and the call that uses them.

    A method takes what it needs of the question and answers with a verdict; it raises for what it cannot take.

    Examples:
        >>> from gsimplicit.inverse.methods import METHODS, Method
        >>> all(issubclass(method, Method) for method in METHODS.values())
        True
    """

    name: ClassVar[str]
    windows: ClassVar[bool] = False
    """Whether it takes open windows, `periodic=False`."""
    ties: ClassVar[bool] = False
    """Whether it takes parameters that are tied."""

    def check(self, question: Question) -> None:  # noqa: B027 (most methods take all)
        """Refuse what this method cannot take, before any work.

        Raises:
            ValueError: The question asks for what the method does not have, by name.
        """

    @abstractmethod
    def recover(self, question: Question) -> Answer:
        """Parameters of one set of pictures, or why there are none."""

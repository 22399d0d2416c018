"""One BLAS thread during refinement.

The vectors are short and the calls many, so BLAS threads gain nothing; on a busy machine they wait for each other, and
eigenvalues that take a second took more than two minutes. Instances run on threads of our own instead.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread inside, and restore what was set before.

    Without effect off the main thread: there OpenBLAS neither takes a new limit nor gives an old one back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        yield

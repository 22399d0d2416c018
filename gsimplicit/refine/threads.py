"""One BLAS thread during refinement: see `gsimplicit.threads`."""

from gsimplicit.threads import one_blas_thread as one_blas_thread

"""Studies: one script a figure or question, run by `python -m studies` or `nox -s studies`."""

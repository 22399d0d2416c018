"""Iterations from a start to a fit, one file a method, and what they stand on."""

"""Timings against peers, and numbers the docs quote."""

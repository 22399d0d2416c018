"""Landscapes over the parameters: scans, their store, and the cliffs in them."""

"""What becomes of states as a parameter moves: uniform states in closed form, branches of patterns, edges of basins."""

"""Parameters from pictures of steady states."""

"""What was measured: pictures, their edges, their noise."""

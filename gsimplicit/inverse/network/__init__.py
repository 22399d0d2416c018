"""Fields as a network, as free or as smooth pixels, trained together with the parameters."""

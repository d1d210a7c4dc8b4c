"""Models: which there are, how they are fetched, checked and loaded. Knows no run."""

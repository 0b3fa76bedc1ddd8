"""The proof of removal: what judges read before and after, and what a lens costs."""

"""What is measured of trained players: the pretext task, downstream accuracy, where a lens edits, what judges read."""

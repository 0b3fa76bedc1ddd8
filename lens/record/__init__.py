"""A run's directory: settings, metrics, checkpoints, summary, and its mirror in Weights & Biases."""

"""The audit: which cue tells sources apart."""

"""The loop: one step, the trainer, what is tried before it begins."""

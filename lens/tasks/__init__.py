"""Pretext tasks: one file each, found by the file's name."""

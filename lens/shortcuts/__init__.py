"""Shortcuts that can be planted: one file each, found by the file's name."""

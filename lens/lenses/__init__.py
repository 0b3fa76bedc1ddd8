"""Lenses and their rivals: one file each, found by the file's name."""

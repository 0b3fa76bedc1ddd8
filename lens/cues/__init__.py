"""Cues of the audit: one view of images a file, found by the file's name."""

"""The images of a run: opened, listed, split, cached, cropped, planted with a cue, changed by hand."""

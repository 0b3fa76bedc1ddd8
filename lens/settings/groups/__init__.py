"""The groups of the settings of a run, one a file: what a function reads is the group that it takes."""

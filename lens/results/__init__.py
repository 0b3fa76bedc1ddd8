"""What measurements say: each result is a dataclass that names its figures, a file each; all of them are of summary.json or of a comparison."""

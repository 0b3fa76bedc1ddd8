"""Sources of images: one file each, found by the file's name."""

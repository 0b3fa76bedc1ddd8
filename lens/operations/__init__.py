"""Pure functions of images."""

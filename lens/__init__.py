"""Find and remove shortcuts in images with an adversarial lens."""

__version__ = "0.3.0"

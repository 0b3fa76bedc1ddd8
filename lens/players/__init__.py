"""The extractor and the lens, how both are built from settings, and a finished run brought back."""

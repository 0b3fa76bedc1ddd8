"""What knows nothing of images: errors, draws, files, names, the terminal, ranks."""

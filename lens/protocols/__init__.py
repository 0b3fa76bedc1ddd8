"""The interfaces that plug-ins fill, one file a kind, and the look-up that finds a plug-in by its file's name.

Shape letters, used in names (`logits_EK`) and docstrings throughout the package:

    B  images in a batch            V  views: B times the views that a task takes of each image
    E  examples (rows of the loss)  K  classes
    F  features of the extractor    C H W  channels (always RGB), height, width

A plug-in is a file: its name is its key on the command line, its docstring's first line its line in `--help`, and its
one public dataclass holds its settings and fills one of the interfaces here: it inherits `Task`, or has what `Shortcut`
or `Source` ask for. Of lens itself it imports `protocols`, `operations` and `base` only; heavy libraries are imported
inside functions, so that `--help` and bad input answer at once.
"""

"""The settings of a run: typed, frozen, checked; how they are parsed, and which of them runs must share."""

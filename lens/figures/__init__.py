"""Every picture and every table, from saved results only."""

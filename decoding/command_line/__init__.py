"""The options of the programs, how they print and exit, and what makes their start faster. Knows no model."""

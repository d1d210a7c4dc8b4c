"""The options of the programs, and what makes their start faster. Knows no model."""

"""The error of a run that contradicts itself. Owns that error; knows no rule."""


class ContradictionError(ValueError):
    """A contradiction, in words that continue "The run cannot be right: "."""

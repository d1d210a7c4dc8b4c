"""A static site in which the visitor's own browser computes: `python -m decoding.site FOLDER` writes it."""

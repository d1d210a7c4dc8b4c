"""The engine of this process: a transformers network."""

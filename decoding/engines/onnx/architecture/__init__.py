"""The architectures: one module per model family, which writes its graph."""

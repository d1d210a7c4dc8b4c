"""The architectures: a module for each family, which writes its graph."""

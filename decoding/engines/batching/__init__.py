"""Continuous batching: many runs share the forward passes of one network."""

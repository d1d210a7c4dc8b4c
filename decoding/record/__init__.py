"""A run as data. Knows no model, no engine and no page."""

"""What people may ask for: each kind of request is checked once, here, with the sentences that refuse it.

Knows the limits of an engine, and not how it decodes.
"""

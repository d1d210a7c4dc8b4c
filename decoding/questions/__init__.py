"""What is asked about a run: branches, totals, beams, draws, the prompt's own tokens, why a token was picked.

Each question is a file, and its answer is a record. Knows engines by their protocol, and no page.
"""

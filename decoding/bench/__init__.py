"""The benchmark: `python -m decoding.bench`. `loops` knows the loops, `page` the page, `__main__` the table."""

"""The benchmark: `python -m decoding.bench`. `loops` knows the loops, `page` the page, `startup` a start,
`__main__` the table."""

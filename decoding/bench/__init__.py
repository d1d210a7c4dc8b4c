"""The benchmark: `python -m decoding.bench`. `measured_models` has what is measured, `loops` and `llama` contend,
`memory_bandwidth` has the limit, `rows` their turns, `clock` the forward pass's, `why_times` the questions about a
step, `page_times` the page, `startup` a start, `report` the table.
"""

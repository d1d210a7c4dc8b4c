"""The benchmark: `python -m decoding.bench`. `measured_models` has what is measured, `loops` and `llama` contend,
`limit` the memory's, `rows` their turns, `clock` the forward pass's, `why` the questions about a step, `page` the page,
`startup` a start, `report` the table.
"""

"""The benchmark: `python -m decoding.bench`. `measured_models` has what is measured, `contenders` their order, `loops`
and `llama` what each of them does; `memory_bandwidth` has the limit, `clock` the forward pass's times, `threads` a
step's; `crowd` many runs at once, `server` a vLLM server, `why_times` the questions about a step, `page_times` the
page, `memory` what its process holds, `startup` a start; `report` has the table.
"""

"""The architectures: one module per model family, which writes its graph.

Each has safetensors' names of its weights (`SAFETENSORS`; those of GGUF are the same for all) and a function
`write(layers)`. README.md one folder up says how to add one. Every graph is proved against transformers when it is
built. A family without a module here runs in transformers.
"""

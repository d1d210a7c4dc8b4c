"""The architectures: one module per model family, which writes its graph.

To add a family, write a module here with the names of its weights (`SAFETENSORS`, `GGUF`) and a function
`write(layers)`; list it in `building.ARCHITECTURES`; read its configuration in `decoding.models.spec_config` and its
metadata in `decoding.models.spec_gguf`. Every graph is proved against transformers when it is built. A family without a
module here runs in transformers.
"""

"""A model as one ONNX graph: made once from its weights, kept in the cache, computed by ONNX Runtime."""

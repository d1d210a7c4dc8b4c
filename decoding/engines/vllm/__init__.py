"""The engine of a vLLM server elsewhere."""

"""The engine of a vLLM server: its client, its handshake and its responses."""

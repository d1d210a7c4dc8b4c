"""The engine of transformers networks in this process, on a CPU or GPU."""

"""A server's business without Gradio: the models in memory, the line before them, a visitor's stream."""

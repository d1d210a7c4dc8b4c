"""What may come in over HTTP beside Gradio, and what is served beside it."""

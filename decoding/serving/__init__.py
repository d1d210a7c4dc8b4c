"""What a server does apart from Gradio: models in memory, admission of visitors, memory budget, streams of updates."""

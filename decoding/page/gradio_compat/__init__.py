"""What leans on Gradio's private parts."""

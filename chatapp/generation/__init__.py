"""Answers: from a question to a stored answer. Knows no HTTP and no Gradio."""

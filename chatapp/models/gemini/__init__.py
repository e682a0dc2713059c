"""Gemini, on Vertex AI or by the Gemini API."""

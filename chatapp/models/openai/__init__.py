"""Models behind an OpenAI-compatible API: vLLM, Ollama, LM Studio and others."""

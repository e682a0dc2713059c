"""Copies a model's weights from Hugging Face to a bucket in Cloud Storage, from which vLLM streams them into its GPU.

`python -m chatapp.weights` runs once, as a Job of the stack (setting `weightsBucket`). It needs no disk: what arrives
is sent on. It must not import the chat itself.
"""

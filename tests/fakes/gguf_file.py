"""GGUF files without weights: what their heads say."""

import struct

TYPES = {int: ("<Q", 10), float: ("<f", 6), bool: ("<?", 7)}
GEMMA = {
    "general.architecture": "gemma3",
    "general.type": "model",
    "general.name": "Gemma 3 4B It",
    "gemma3.context_length": 131072,
    "gemma3.block_count": 34,
    "gemma3.embedding_length": 2560,
    "gemma3.attention.head_count": 8,
    "gemma3.attention.head_count_kv": 4,
    "gemma3.attention.key_length": 256,
    "gemma3.attention.value_length": 256,
    "tokenizer.ggml.tokens": ["<pad>", "a", "b"],
    "tokenizer.chat_template": "{{ messages }}",
}


def gguf_bytes(values=GEMMA, *, version=3):
    """Return a file with these keys and no tensors."""
    head = b"GGUF" + struct.pack("<IQQ", version, 0, len(values))
    return head + b"".join(_text(key) + _value(value) for key, value in values.items())


def _text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value):
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        if isinstance(value[0], str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        return struct.pack("<IIQ", 9, 10, len(value)) + b"".join(struct.pack("<Q", one) for one in value)
    form, kind = TYPES[type(value)]
    return struct.pack("<I", kind) + struct.pack(form, value)

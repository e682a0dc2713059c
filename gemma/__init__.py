"""How Gemma is served on vLLM: one table for the stack's GPUs and for a workstation (`make gemma`).

`profiles` and `memory` are the table and its arithmetic, `arguments` are vLLM's. `workstation` and `__main__` serve it
on this computer. Uses the standard library alone, and imports neither the chat nor the stack.
"""

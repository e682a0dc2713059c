"""Check what `make up`, `preview`, `url`, `destroy` and `doctor` need on this computer, before Pulumi runs.

Plain Python over `stacks.settings`; it imports no provider's SDK, and changes nothing but the choice of the stack.
"""

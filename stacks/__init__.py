"""The infrastructure: one room, one component, one file; `HybridChat` joins them."""

from stacks.hybrid import HybridChat
from stacks.names import Names
from stacks.settings import InvalidSettings, Settings

__all__ = ["HybridChat", "InvalidSettings", "Names", "Settings"]

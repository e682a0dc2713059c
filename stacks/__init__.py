"""The infrastructure as code: one component per module; `stacks.hybrid` composes them."""

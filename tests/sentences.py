"""Which sentences the chat's own code can say, read from the code."""

import ast
import re
from pathlib import Path

CHATAPP = Path(__file__).parents[1] / "chatapp"
NAME = re.compile(r"\{(\w+)\}")


def templates():
    """Return ``{template: where}`` of every `Sentence`, those that are kept in a table, too."""
    return {
        template: f"{path.relative_to(CHATAPP.parent)}:{call.lineno}"
        for path in sorted(CHATAPP.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Sentence"
        for template in literals(call.args[0])
    }


def literals(node):
    """Return the text that is written there; a choice between two of them is two."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) else []


def begun(template):
    """Return a phrase as `Sentence.begun` writes it."""
    return template[:1].upper() + template[1:]


def names(template):
    """Return the names of the values that a template has places for."""
    return sorted(NAME.findall(template))

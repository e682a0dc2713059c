"""The templates of all sentences in the code of the chat."""

import ast
import re
from pathlib import Path

CHATAPP = Path(__file__).parents[1] / "chatapp"
NAME = re.compile(r"\{(\w+)\}")


def calls():
    """Yield ``(path within chatapp, call)`` of every call of `Sentence` in the code."""
    for path in sorted(CHATAPP.rglob("*.py")):
        code = path.read_text(encoding="utf-8")
        if "Sentence(" not in code:  # most of the time goes into parsing
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Sentence":
                yield path.relative_to(CHATAPP).as_posix(), node


def templates():
    """Return the templates of every `Sentence`."""
    return {template for _, call in calls() for template in literals(call.args[0])}


def literals(node):
    """Return the string literal of a node, or both of a conditional expression."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) else []


def begun(template):
    """Return a phrase as `Sentence.begun` writes it."""
    return template[:1].upper() + template[1:]


def names(template):
    """Return the names of the placeholders of a template."""
    return sorted(NAME.findall(template))

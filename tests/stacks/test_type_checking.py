"""mypy reads only those modules of the large SDKs that pyproject.toml names; the others have the type Any."""

import ast
import operator
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SDKS = ("import pulumi_gcp", "import pulumi_kubernetes", "from pulumi_gcp", "from pulumi_kubernetes")


def modules_used() -> set[str]:
    """Return the modules of the classes and functions of the SDKs that the program names."""
    modules = set()
    for path in [ROOT / "__main__.py", *(ROOT / "stacks").rglob("*.py")]:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        imported = {}
        exec("\n".join(line for line in imports if line.startswith(SDKS)), imported)
        for node in nodes:
            first, _, name = ast.unparse(node).partition(".") if isinstance(node, ast.Attribute) else ("", "", "")
            if first in imported and name.replace(".", "").isidentifier():
                modules.add(getattr(operator.attrgetter(name)(imported[first]), "__module__", None))
    return modules - {None}


def test_each_module_that_the_program_uses_is_type_checked():
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    checked = {name for table in overrides if table.get("follow_imports") == "normal" for name in table["module"]}
    used = modules_used()
    assert {"pulumi_gcp.compute.network", "pulumi_kubernetes.networking.v1.NetworkPolicy"} <= used
    assert used <= checked

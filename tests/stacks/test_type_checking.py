"""mypy reads only those services of the large SDKs that pyproject.toml names; the others have the type Any."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SDKS = {"gcp": "pulumi_gcp", "kubernetes": "pulumi_kubernetes"}


def services_used() -> set[str]:
    """Return the services that the program names, as modules: ``pulumi_gcp.compute``."""
    return {
        f"{SDKS[node.value.id]}.{node.attr}"
        for path in [ROOT / "__main__.py", *(ROOT / "stacks").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in SDKS
        if node.attr[0].islower()
    }


def test_each_service_that_the_program_uses_is_type_checked():
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    checked = {name for table in overrides if table.get("follow_imports") == "normal" for name in table["module"]}
    used = services_used()
    assert "pulumi_gcp.compute" in used
    assert {f"{service}.*" for service in used} <= checked

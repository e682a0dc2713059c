"""Prints the options of `vllm serve` from vLLM's wheel, as `data/vllm_options.yaml` has them.

``pip download --no-deps vllm==VERSION``, then ``python -m tests.stacks.vllm_options vllm-*.whl >FILE``. The source is
read and not run: importing vLLM needs torch, of several gigabytes.
"""

import ast
import datetime
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import yaml

ENGINE, SERVER = "vllm/engine/arg_utils.py", "vllm/entrypoints/common/cli_args.py"


def options_of(engine: str, server: str) -> list[str]:
    """Return all options: those that both parsers add by name, and one for each field of the server's."""
    return sorted({*re.findall(r'"(--[a-z0-9-]+)"', engine + server), *_fields(ast.parse(server))})


def _fields(module: ast.Module) -> Iterator[str]:
    for each in module.body:
        if isinstance(each, ast.ClassDef) and each.name.endswith("FrontendArgs"):
            for line in each.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                    yield f"--{line.target.id.replace('_', '-')}"


def main(wheel: Path) -> None:
    """Print the data file."""
    with zipfile.ZipFile(wheel) as archive:
        engine, server = (archive.read(name).decode() for name in (ENGINE, SERVER))
    document = {
        "version": wheel.name.split("-")[1],
        "date": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m}",
        "source": f"the wheel's {ENGINE} and {SERVER}",
        "options": options_of(engine, server),
    }
    sys.stdout.write("# Written by tests/stacks/vllm_options.py.\n")
    yaml.safe_dump(document, sys.stdout, sort_keys=False, width=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

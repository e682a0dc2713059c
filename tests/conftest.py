"""Under ``TEST_NO_SKIPS=1`` (as in CI) a skipped test is a failure; the dearest long tests run first."""

import atexit
import contextlib
import gc
import importlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test finds a server of the developer's: tests of that ask for it.
os.environ["CHAT_FIND_SERVERS"] = "false"
os.environ.pop("OLLAMA_HOST", None)

# A worker has told the results when its process ends. To free the memory of all that it has imported takes it 4 s more.
if "PYTEST_XDIST_WORKER" in os.environ:
    atexit.register(os._exit, 0)

# A busy machine makes every example slow: no deadline.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_configure():
    """Collect no garbage while modules are imported and tests are made: nearly all of a million objects stay."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """Begin the import of the test modules at another third in each of three workers of a run of all tests.

    In a fresh clone pytest rewrites the asserts of each file, and its bytecode is half of the collection's CPU. Workers
    that import the same file at the same time would all rewrite it.
    """
    folders = [Path(arg) for arg in session.config.args]
    if "PYTEST_XDIST_WORKER" not in os.environ or [folder.name for folder in folders] != ["tests"]:
        return
    ignored = [Path(folder).name for folder in session.config.getoption("ignore") or ()]
    paths = sorted(path for path in Path("tests").rglob("test_*.py") if not {*path.parts} & {*ignored})
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    first = len(paths) * worker // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for path in paths[first:] + paths[:first]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # pytest imports it again, and reports the error
            importlib.import_module(".".join(path.with_suffix("").parts))


@pytest.hookimpl(trylast=True)  # when the tests that do not run are deselected
def pytest_collection_modifyitems(items):
    """Begin with the dearest tests, whose marker ``long`` says how many seconds they take, each in another worker.

    Each worker gets as many tests in a row, and one that has none left takes over the last of another's. So a dear test
    at the head of a row begins at once, and none runs alone at the end.
    """
    marks = {item: item.get_closest_marker("long") for item in items}
    seconds = {item: mark.kwargs["seconds"] for item, mark in marks.items() if mark and "seconds" in mark.kwargs}
    if not seconds:
        return
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    rows = [[] for _ in range(workers)]
    for item in sorted(seconds, key=seconds.__getitem__, reverse=True):
        min(rows, key=lambda row: sum(map(seconds.__getitem__, row))).append(item)
    rest, left = [item for item in items if item not in seconds], len(items)
    for number, row in enumerate(rows):
        length = left // (workers - number)  # of the row that this worker gets
        cheap = max(0, length - len(row))
        row.extend(rest[:cheap])
        del rest[:cheap]
        left -= length
    items[:] = [*(item for row in rows for item in row), *rest]


def pytest_collection_finish():
    """Collect garbage from here on, less often, and without looking at what is there already.

    At Python's 700 new objects, it cost a tenth of the CPU of a simulation and a fifth of that of a deployment.
    """
    gc.enable()
    gc.set_threshold(20_000, 10, 10)
    gc.freeze()


def _fail_if_skipped(report):
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("TEST_NO_SKIPS") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: no test may be skipped here. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _fail_if_skipped((yield))

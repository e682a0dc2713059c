"""Under ``TEST_NO_SKIPS=1`` (as in CI) a skipped test is a failure."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# No test finds a server of the developer's: tests of that ask for it.
os.environ["CHAT_FIND_SERVERS"] = "false"
os.environ.pop("OLLAMA_HOST", None)

# A busy machine makes every example slow: no deadline.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_configure():
    """Collect no garbage while modules are imported and tests are made: nearly all of a million objects stay."""
    gc.disable()


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

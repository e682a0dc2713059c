import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a run of pytest for each

TESTS = """
import pytest

def test_runs(): pass

@pytest.mark.skip(reason="no browser")
def test_marked(): pass

def test_inside(): pytest.skip("no network")

@pytest.fixture
def server(): pytest.skip("no server")

def test_through_a_fixture(server): pass

@pytest.mark.xfail(reason="known")
def test_expected_to_fail(): assert False
"""


def run_pytest(folder, tests, *options, **environment):
    """Run pytest with these tests and the hooks of all tests."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_some.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


@pytest.mark.parametrize(("setting", "status"), [("0", 0), ("1", 1)])
def test_a_skipped_test_is_a_failure_where_no_test_may_be_skipped(tmp_path, setting, status):
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    result = run_pytest(tmp_path, TESTS, "--continue-on-collection-errors", TEST_NO_SKIPS=setting)
    assert result.returncode == status, result.stdout
    if status:
        assert re.search("1 failed, 1 passed, 1 xfailed, 3 errors", result.stdout)
        for reason in ("no browser", "no network", "no server", "could not import 'no_such_module'"):
            assert re.search(f"no test may be skipped here. .*{reason}", result.stdout), reason
    else:
        assert re.search("1 passed, 4 skipped, 1 xfailed", result.stdout)


LONG_TESTS = """
import pytest

@pytest.mark.parametrize("number", range(9))
def test_cheap(number): pass

@pytest.mark.long(seconds=20)
def test_dear(): pass

@pytest.mark.parametrize("part", [pytest.param(1, marks=pytest.mark.long(seconds=30)), 2])
def test_in_parts(part): pass

@pytest.mark.long(seconds=90)
def test_dearest(): pass
"""


def test_each_of_two_workers_begins_with_the_dearest_tests(tmp_path):
    result = run_pytest(tmp_path, LONG_TESTS, "--collect-only", "--quiet", PYTEST_XDIST_WORKER_COUNT="2")
    assert result.returncode == 0, result.stdout
    tests = re.findall(r"::test_(\S+)", result.stdout)
    cheap = [f"cheap[{number}]" for number in range(9)]
    assert tests == ["dearest", *cheap[:5], "in_parts[1]", "dear", *cheap[5:], "in_parts[2]"]

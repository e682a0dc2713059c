"""Free memory and disk, and the context that fits."""

import pytest

from chatapp.models.local import computer


def test_free_memory_and_disk_are_there(tmp_path):
    assert computer.free_memory() > 10_000_000
    assert computer.free_disk(tmp_path / "not" / "yet") > 1_000_000


def test_the_limit_of_a_container_counts(monkeypatch, tmp_path):
    files = {"meminfo": "MemTotal: 8 kB\nMemAvailable:   4000 kB\n", "max": "3000000\n", "current": "1000000\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(computer.sys, "platform", "linux")
    monkeypatch.setattr(computer, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(computer, "_CGROUPS", ((tmp_path / "max", tmp_path / "current"),))
    assert computer.free_memory() == 2_000_000
    (tmp_path / "max").write_text("max\n")
    assert computer.free_memory() == 4_096_000
    (tmp_path / "meminfo").unlink()
    assert computer.free_memory() == 0


def test_the_free_memory_of_a_mac_is_read_from_vm_stat(monkeypatch):
    output = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:   10.\nPages active:  99.\nPages inactive: 5.\n"
    )

    class Result:
        stdout = output

    monkeypatch.setattr(computer.sys, "platform", "darwin")
    monkeypatch.setattr(computer.subprocess, "run", lambda *_, **__: Result())
    assert computer.free_memory() == 15 * 16_384

    def fails(*_, **__):
        raise OSError

    monkeypatch.setattr(computer.subprocess, "run", fails)
    assert computer.free_memory() == 0


@pytest.mark.parametrize(
    ("free", "most", "expected"),
    [
        (100_000_000_000, 131_072, 32_768),
        (100_000_000_000, 8192, 8192),
        (6_000_000_000, 131_072, 8192),
        (5_000_000_000, 131_072, 4096),
        (0, 131_072, 4096),
        (0, 2048, 2048),
    ],
)
def test_the_context_is_as_large_as_the_memory_allows(monkeypatch, free, most, expected):
    monkeypatch.setattr(computer, "free_memory", lambda: free)
    assert computer.context_that_fits(most, cache_bytes=150_000, memory_bytes=4_600_000_000) == expected

"""The parts of `benchmarks.page`."""

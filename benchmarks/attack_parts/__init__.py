"""The parts of `benchmarks.attacks`."""

"""The parts of `benchmarks.rollout`."""

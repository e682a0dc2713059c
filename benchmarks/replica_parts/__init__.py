"""The parts of `benchmarks.replicas`."""

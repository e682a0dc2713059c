"""Parts of ``benchmarks.faults``, in a folder, so that ``make bench`` does not take them for benchmarks."""

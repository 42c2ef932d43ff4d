"""What is measured, always beside a peer in the same run; only the ratios count. Run `python -m tests.benchmarks`."""

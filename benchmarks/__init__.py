"""What is timed, against what; run as `python -m benchmarks.<name>`."""

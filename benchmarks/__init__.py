"""What the platform costs, measured: `make bench`. Timings belong here and in no test."""

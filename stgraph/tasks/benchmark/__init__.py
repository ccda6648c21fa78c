"""Benchmarks: every model on every data set with every seed under every protocol, each in a process of its own."""

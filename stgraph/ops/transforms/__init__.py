"""Transforms of signals as pure functions: Fourier, cosine and sine, Hadamard, wavelets."""

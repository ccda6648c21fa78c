"""Layers in the frequency domain: mixing, attention and neural operators."""

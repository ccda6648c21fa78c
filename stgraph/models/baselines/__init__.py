"""Forecasts that a network has to beat in closed form, and the networks of the literature.

Their classes are loaded when first used, by :mod:`stgraph.models` or :func:`stgraph.models.get_model`.
"""

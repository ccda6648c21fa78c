"""Detectors by name."""

from __future__ import annotations

import pytest

import stgraph.models.detectors as module
from stgraph.errors import InputError
from stgraph.models.detectors import DETECTORS, Detector, get_detector


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_name_is_a_detector(name: str) -> None:
    found = get_detector(name)
    assert issubclass(found, Detector)
    assert getattr(module, found.__name__) is found
    assert found.__name__ in module.__all__


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="graph_residual"):
        get_detector("graph-residuals")
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        module.Missing  # noqa: B018


def test_the_base_class_does_nothing_by_itself() -> None:
    detector = Detector()
    for name in ("fit", "calibrate", "deviation", "detect", "fit_detect"):
        with pytest.raises(NotImplementedError):
            getattr(detector, name)(None)

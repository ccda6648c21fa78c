"""The p-values of the detector of what does not fit in spectra, and the rates that they keep."""

from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.detectors import GraphResidualDetector
from stgraph.ops.anomaly import benjamini_hochberg, conformal_pvalues
from tests.models.detectors.small_spectra import OPTIONS, spectra


def test_calibration_keeps_the_rate_of_false_alarms() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=150, length=40))
    detector.calibrate(spectra(n=999, length=40, seed=1))
    found = detector.detect(spectra(n=3000, length=40, seed=2))
    assert found.p_value is not None
    for rate in (0.05, 0.1, 0.3):
        share = float((found.p_value <= rate).double().mean())
        # Of 999 calibration scores and of 3000 spectra; four standard deviations.
        scatter = 4 * (rate * (1 - rate) * (1 / 1000 + 1 / 3000)) ** 0.5
        assert abs(share - rate) <= scatter
    refitted = detector.fit(spectra(n=20, length=40))
    assert refitted.detect(spectra(n=2, length=40)).p_value is None


def test_benjamini_hochberg_keeps_the_share_of_false_discoveries() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=150, length=40))
    clean = detector.detect(spectra(n=3000, length=40, seed=1)).score
    odd = spectra(n=200, length=40, seed=2)
    odd.x[:, 10:16] += 2.0
    odd_score = detector.detect(odd).score
    generator = torch.Generator().manual_seed(3)
    false, found = [], []
    for _ in range(150):
        order = torch.randperm(3000, generator=generator)
        some = odd_score[torch.randperm(200, generator=generator)[:20]]
        pvalues = conformal_pvalues(torch.cat([clean[order[:80]], some]), clean[order[80:1080]])
        flagged = benjamini_hochberg(pvalues, 0.2)
        false.append(float(flagged[:80].sum() / flagged.sum().clamp(min=1)))
        found.append(float(flagged[80:].double().mean()))
    # At most 0.2 times the share of clean spectra, 0.8; the mean of 150 has a standard error of about 0.01.
    assert sum(false) / len(false) <= 0.16 + 0.03
    assert sum(found) / len(found) > 0.5


def test_calibration_needs_spectra_with_data() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=20))
    empty = spectra(n=3)
    empty.mask[:] = False
    with pytest.raises(InputError, match="none of the 3 spectra has a score"):
        detector.calibrate(empty)
    detector.calibrate(spectra(n=9, seed=1))
    pvalues = detector.detect(empty).p_value
    assert pvalues is not None
    assert pvalues.tolist() == [1.0] * 3

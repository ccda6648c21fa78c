from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.errors import InputError
from stgraph.tasks.protocols import PROTOCOLS, choose_protocols, describe, family_of, get_protocol

LENGTH = 24  # of a window of 12 + 12 steps


def counts(name, steps, family):
    return [len(starts) for starts in PROTOCOLS[name].starts(steps, 12, 12, family).values()]


# Numbers of samples of training, validation and test that the harnesses themselves report.
@pytest.mark.parametrize(
    ("steps", "family", "expected"),
    [
        (
            34272,  # METR-LA
            "speed",
            {"dcrnn": [23974, 3425, 6850], "basicts": [23968, 3404, 6831], "tsl": [24648, 2728, 6849]},
        ),
        (
            52116,  # PEMS-BAY
            "speed",
            {"dcrnn": [36465, 5209, 10419], "basicts": [36459, 5188, 10400], "tsl": [37496, 4155, 10418]},
        ),
        (
            16992,  # PEMS04
            "flow",
            {"dcrnn": [10181, 3394, 3394], "basicts": [10173, 3375, 3375], "tsl": [10849, 2703, 3393]},
        ),
        (
            17856,  # PEMS08
            "flow",
            {"dcrnn": [10700, 3566, 3567], "basicts": [10691, 3548, 3548], "tsl": [11402, 2841, 3566]},
        ),
        (35040, "largest", {"largest": [21010, 7003, 7004]}),  # LargeST, 2019
    ],
)
def test_numbers_of_windows(steps, family, expected):
    assert {name: counts(name, steps, family) for name in expected} == expected


def test_strict_has_the_windows_of_basicts():
    for family in ("speed", "flow", "largest"):
        assert counts("strict", 17856, family) == counts("basicts", 17856, family)


def test_libcity_splits_every_family_alike():
    # 7 : 1 : 2 of the 17833 windows of PEMS08: 12483.1, 1783.3, 3566.6
    assert counts("libcity", 17856, "flow") == counts("libcity", 17856, "speed") == [12483, 1783, 3567]


@settings(max_examples=25, deadline=None)
@given(steps=st.integers(300, 900), family=st.sampled_from(["speed", "flow", "largest"]))
def test_what_is_shared_between_parts(steps, family):
    parts = {name: list(PROTOCOLS[name].starts(steps, 12, 12, family).values()) for name in PROTOCOLS}
    for name, (train, val, test) in parts.items():
        joined = torch.cat([train, val, test])
        assert (joined.diff() >= 1).all()
        straddles = int(train.max()) + LENGTH > int(val.min()) or int(val.max()) + LENGTH > int(test.min())
        assert straddles == (name not in ("strict", "basicts"))
        if name in ("dcrnn", "libcity", "largest"):
            assert torch.equal(joined, torch.arange(steps - LENGTH + 1))
    train, val, test = parts["tsl"]
    # P windows are dropped: no target of one part is a target of the next, and test is whole.
    assert int(val.min()) - int(train.max()) == int(test.min()) - int(val.max()) == 13
    assert int(test.max()) == steps - LENGTH


def test_the_gap_has_as_many_windows_as_there_are_input_steps():
    train, val, _ = PROTOCOLS["tsl"].starts(400, 5, 3, "speed").values()
    assert int(val.min()) - int(train.max()) == 6


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_series_too_short_for_all_parts_is_refused(name):
    with pytest.raises(InputError, match=r"window|step"):
        PROTOCOLS[name].starts(25, 12, 12, "speed")


def test_families_of_data_sets():
    speed = ["metr_la", "metr_la_week", "pems_bay", "PEMS-BAY.h5", "milan_telecom", "simulated_traffic", ""]
    assert {family_of(name) for name in speed} == {"speed"}
    assert {family_of(name) for name in ("pems03", "PEMS04.npz", "/data/pems_07", "pems08", "PeMSD8")} == {"flow"}
    assert {family_of(name) for name in ("largest_ca", "LargeST_SD")} == {"largest"}
    assert family_of("pemsd7m") == "speed"  # PeMSD7(M) holds speeds
    with pytest.raises(InputError, match="family is 'speeds'"):
        PROTOCOLS["dcrnn"].starts(500, 12, 12, "speeds")


def test_names():
    assert list(PROTOCOLS) == ["dcrnn", "basicts", "tsl", "largest", "libcity", "strict"]
    assert choose_protocols("all") == list(PROTOCOLS.values())
    assert [protocol.name for protocol in choose_protocols("tsl,dcrnn,tsl")] == ["tsl", "dcrnn"]
    assert get_protocol(PROTOCOLS["tsl"]) is PROTOCOLS["tsl"]
    with pytest.raises(InputError, match="did you mean 'basicts'"):
        get_protocol("basicts2")
    with pytest.raises(InputError, match="expected 'all'"):
        choose_protocols(" , ")


def test_horizons_that_exist():
    assert {name: protocol.horizons(12) for name, protocol in PROTOCOLS.items()} == {
        name: [3, 6, 12] for name in PROTOCOLS
    }
    assert PROTOCOLS["dcrnn"].horizons(2) == []
    assert PROTOCOLS["strict"].horizons(2) == [2]


def test_the_description_tells_the_protocols_apart():
    header, _, *rows = [line.split(" | ") for line in describe().strip("|").splitlines()]
    assert [name.strip(" |") for name in header[1:]] == list(PROTOCOLS)
    columns = list(zip(*[row[1:] for row in rows[:-1]], strict=True))  # without the sources
    assert len(set(columns)) == len(PROTOCOLS)
    assert "0.0001" in describe("libcity")
    assert "libcity" not in describe("dcrnn", "strict")

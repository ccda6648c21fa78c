import collections
import contextlib
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stgraph.data.restricted_pickle import load_plain_pickle
from stgraph.errors import InputError


def load(tmp_path, content):
    path = tmp_path / "plain.pkl"
    path.write_bytes(content)
    return load_plain_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">i4"),
        np.array([True, False]),
        np.array(3.5),
        np.arange(12.0).reshape(3, 4)[::2, ::2],
        np.array([0.5], dtype=np.float16),
    ],
    ids=str,
)
def test_arrays(tmp_path, array, protocol):
    read = load(tmp_path, pickle.dumps(array, protocol))
    np.testing.assert_array_equal(read, array)
    assert read.shape == array.shape
    assert read.dtype == array.dtype.newbyteorder("=")
    assert read.flags.writeable


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data(tmp_path, protocol):
    content = [["a", "b"], {"a": 0, "b": 1}, (1.5, None, True, -(2**70)), b"\x00\xff", "ü"]
    assert load(tmp_path, pickle.dumps(content, protocol)) == content


def test_python_2_pickle(tmp_path):
    """[['717099'], {'717099': 0}, array([[0.5]], float32)] as Python 2 wrote it with protocol 0."""
    content = (
        b"(lp0\n(lp1\nS'717099'\np2\naa(dp3\ng2\nI0\nsacnumpy.core.multiarray\n_reconstruct\np4\n(cnumpy\nndarray\np5\n"
        b"(I0\ntp6\nS'b'\np7\ntp8\nRp9\n(I1\n(I1\nI1\ntp10\ncnumpy\ndtype\np11\n(S'f4'\np12\nI0\nI1\ntp13\nRp14\n"
        b"(I3\nS'<'\np15\nNNNI-1\nI-1\nI0\ntp16\nbI00\nS'\\x00\\x00\\x00?'\np17\ntp18\nba."
    )
    ids, position, matrix = load(tmp_path, content)
    assert ids == ["717099"]
    assert position == {"717099": 0}
    assert matrix.tolist() == [[0.5]]
    assert matrix.dtype == np.float32


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.float64, np.int16, np.bool_, np.uint8]), hnp.array_shapes(min_dims=0, max_dims=3)),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_any_array(tmp_path_factory, array, protocol):
    read = load(tmp_path_factory.getbasetemp(), pickle.dumps(array, protocol))
    np.testing.assert_array_equal(read, array)
    assert read.shape == array.shape


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def global_call(module, name, *args):
    """A pickle that calls a function by its name, whether or not it exists."""
    return b"c" + f"{module}\n{name}\n".encode() + pickle.dumps(args, 0)[:-1] + b"R."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "function",
    [
        os.system,
        os.mkdir,
        eval,
        exec,
        compile,
        open,
        __import__,
        getattr,
        subprocess.Popen,
        np.load,
        np.save,
        pickle.loads,
    ],
)
def test_malice_is_refused_before_it_runs(tmp_path, function, protocol):
    target = str(tmp_path / "exploded")
    argument = {
        os.system: f"touch {target}",
        eval: f"open({target!r}, 'w')",
        exec: f"open({target!r}, 'w')",
        subprocess.Popen: ["touch", target],
    }.get(function, target)
    content = [["a"], {"a": 0}, Call(function, argument)]
    with pytest.raises(InputError, match="refused"):
        load(tmp_path, pickle.dumps(content, protocol))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "dtype.newbyteorder"),
        ("numpy", "ndarray.tofile"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.lib.npyio", "load"),
        ("_codecs", "decode"),
        ("_codecs", "encode.__self__"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("copyreg", "_reconstructor"),
        ("copy_reg", "_reconstructor"),
        ("collections", "OrderedDict"),
        ("stgraph.data.restricted_pickle", "load_plain_pickle"),
        ("no.such.module", "thing"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 4])
def test_only_the_names_of_arrays_are_known(tmp_path, module, name, protocol):
    content = global_call(module, name, "x")
    if protocol == 4:  # STACK_GLOBAL, which allows dotted names
        strings = b"".join(b"\x8c" + struct.pack("B", len(text)) + text.encode() for text in (module, name))
        content = b"\x80\x04" + strings + b"\x93\x8c\x01x\x85R."
    with pytest.raises(InputError, match="refused"):
        load(tmp_path, content)


NDARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
DTYPE = b"cnumpy\ndtype\n(S'%s'\nI0\nI1\ntR(I3\nS'%s'\nNNNI-1\nI-1\nI%d\ntb"


def state(shape=b"(I1\nt", name=b"f4", order=b"<", flags=0, content=b"S'\\x00\\x00\\x00?'\n"):
    return NDARRAY + b"(I1\n" + shape + DTYPE % (name, order, flags) + b"I00\n" + content + b"tb."


def test_a_handmade_array_is_read(tmp_path):
    assert load(tmp_path, state()).tolist() == [0.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (state(name=b"O", content=b"S'\\x41\\x41\\x41\\x41\\x41\\x41\\x41\\x41'\n"), "dtype 'O'"),
        (state(name=b"O8", flags=0), "dtype 'O8'"),
        (state(name=b"V4"), "dtype 'V4'"),
        (state(name=b"c8", shape=b"(I0\nt", content=b"S''\n"), "dtype 'c8'"),
        (state(name=b"b8"), "dtype 'b8'"),
        (state(order=b"x"), "byte order"),
        (state(shape=b"(I1000000000000\nt"), "4 bytes for an array of shape"),
        (state(shape=b"(I-1\nt"), "array of shape"),
        (state(shape=b"(S'1'\nt"), "array of shape"),
        (state(shape=b"I1\n"), "array of shape"),
        (state(content=b"(lI1\na"), "array of objects"),
        (NDARRAY + b".", "without content"),
        (b"cnumpy\nndarray\n.", "holds a type"),
        (b"cnumpy\ndtype\n(S'f4'\ntR.", "holds a _DtypeStandIn"),
        (b"cnumpy\nndarray\n(dS'array'\nI1\nsb.", "no readable pickle"),
        (b"c_codecs\nencode\n(dS'x'\nI1\nsb.", "no readable pickle"),
        (b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.", "something else than bytes"),
        (b"\x80\x02S'name'\nQ.", "outside it"),
        (b"Pname\n.", "outside it"),
        (b"\x80\x02\x82\x01.", "no readable pickle"),
        (b"(l" * 30 + b"a" * 29 + b".", "nested too deeply"),
        (b"(dcnumpy\nndarray\nI1\ns.", "no text or numbers"),
        (pickle.dumps({1, 2}, 4), "holds a set"),
        (pickle.dumps(1j, 2), "refused"),
        (pickle.dumps(collections.OrderedDict(a=1), 2), "refused"),
        (pickle.dumps(np.float64(1.0), 2), "refused"),
        (pickle.dumps(np.array(["a"]), 2), "dtype 'U1'"),
        (b"", "no readable pickle"),
        (b"no pickle at all", "no readable pickle"),
        (state()[:-9], "no readable pickle"),
    ],
)
def test_what_is_no_plain_data_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, content)
    assert "plain.pkl" in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_raises_nothing_else(tmp_path_factory, data):
    content = bytearray(pickle.dumps([["a"], {"a": 0}, np.eye(2)], data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        load(tmp_path_factory.getbasetemp(), bytes(content))

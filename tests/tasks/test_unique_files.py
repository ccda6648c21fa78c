from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from stgraph.errors import InputError
from stgraph.tasks.unique_files import create_save_path, reserved_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_number_follows_the_largest_one_of_the_same_name_exactly(tmp_path):
    for name in ["run2_3.png", "run2_07.png", "run2_9.jpg", "run2_12.png.png", "xrun2_40.png", "run2_x_50.png",
                 "run2_-60.png", "run2_.png", "run_70.png", "run2_8 .png", "run2_9\n.png", "run2_²9.png"]:  # fmt: skip
        (tmp_path / name).touch()
    assert create_save_path(tmp_path, "run2") == tmp_path / "run2_8.png"
    assert create_save_path(str(tmp_path), "run2", ".jpg") == tmp_path / "run2_10.jpg"


def test_the_folder_is_made_and_the_first_number_is_one(tmp_path):
    path = create_save_path(tmp_path / "a" / "b", "spectra")
    assert path == tmp_path / "a" / "b" / "spectra_1.png"
    assert path.read_bytes() == b""


@pytest.mark.parametrize("base", ["a.b", "a(1)", "m31+[x]*", "^a$", "10", "a_1", "é 漢"])
def test_any_character_of_a_name_stands_for_itself(tmp_path, base):
    (tmp_path / "aXb_5.png").touch()
    for number in (1, 2):
        assert create_save_path(tmp_path, base).name == f"{base}_{number}.png"


def test_numbers_of_threads_differ(tmp_path):
    together = threading.Barrier(8)

    def take(_):
        together.wait()
        return [create_save_path(tmp_path, "x").name for _ in range(5)]

    with ThreadPoolExecutor(8) as pool:
        taken = [name for part in pool.map(take, range(8)) for name in part]
    assert sorted(taken) == sorted(f"x_{i}.png" for i in range(1, 41))


def _take(folder, together, answers):
    together.wait(20)
    answers.put([create_save_path(folder, "x").name for _ in range(10)])


def test_numbers_of_processes_differ(tmp_path):
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_take, args=(tmp_path, together, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    taken = [name for _ in processes for name in answers.get(timeout=60)]
    for process in processes:
        process.join(20)
    assert sorted(taken) == sorted(f"x_{i}.png" for i in range(1, 21))


def fill(folder, content):
    with reserved_path(folder, "x") as path:
        path.write_bytes(content)
        raise InputError(path.name)


def test_what_was_written_stays_and_what_was_not_is_given_back(tmp_path):
    with reserved_path(tmp_path, "x") as first:
        assert names(tmp_path) == ["x_1.png"]
        first.write_bytes(b"1")
    with pytest.raises(InputError, match=r"x_2\.png"):
        fill(tmp_path, b"")
    with reserved_path(tmp_path, "x") as third:
        third.unlink()
    assert names(tmp_path) == ["x_1.png"]


def test_a_file_that_was_written_in_part_before_the_failure_stays(tmp_path):
    with pytest.raises(InputError, match=r"x_1\.png"):
        fill(tmp_path, b"something")
    assert (tmp_path / "x_1.png").read_bytes() == b"something"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "base is ''"),
        (("../x",), "base is '../x'"),
        (("a\\b",), "base is"),
        (("a\0",), "base is"),
        (("x", "png"), "suffix is 'png'"),
        (("x", "./png"), "suffix is './png'"),
    ],
)
def test_names_that_are_not_those_of_a_file_are_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        create_save_path(tmp_path, *arguments)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be written"):
        create_save_path(tmp_path / "file", "x")

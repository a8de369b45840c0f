"""One process at a time has a lock, however often it changes hands."""

import multiprocessing
import os
from pathlib import Path

from distopt.files.lock import Claim


def test_a_claim_is_there_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "runs" / ".run"
    first = Claim(path)
    assert first.taken
    assert not Claim(path).taken
    first.release()
    assert os.listdir(path.parent) == []
    again = Claim(path)
    assert again.taken
    again.release()


def test_one_that_is_refused_leaves_the_others_claim_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs" / ".run"
    first, second = Claim(path), Claim(path)
    second.release()
    assert not Claim(path).taken
    first.release()


def test_of_many_processes_one_has_it_at_a_time(tmp_path: Path) -> None:
    """Each adds to a count only with the claim, without any other protection; no addition is lost."""
    spawn = multiprocessing.get_context("spawn")
    count = tmp_path / "count"
    count.write_text("0")
    processes = [spawn.Process(target=add, args=(tmp_path / "runs" / ".run", count, 200)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert count.read_text() == "800"


def add(path: Path, count: Path, times: int) -> None:
    """Add 1 to the number in a file as often as told."""
    while times:
        claim = Claim(path)
        if claim.taken:
            count.write_text(str(int(count.read_text()) + 1))
            times -= 1
        claim.release()

"""What a run takes from the machine, what it opens to others, and how it ends when there is not enough."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distopt.errors import DistoptError
from distopt.launchers.ray import launch
from distopt.runs import results
from scripts.tools.processes import LIMIT_S, Launched

RUN = ("run", "launcher=ray", "workers=2", "name=run", "epochs=null", "evaluate.points=1", "output=results")
BOOTH = (*RUN, "model=booth", "dataset=none", "local=sgd", "local.learning_rate=0.001", "optimizer=agn")
SECRET = "a-secret-that-nobody-may-keep"

pytestmark = pytest.mark.ray


def listening(processes: list[psutil.Process]) -> set[str]:
    """The addresses at which processes can be reached."""
    found = set()
    for process in processes:
        try:
            found |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def joins(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Let another process try to join a cluster."""
    code = f"import ray; ray.init(address={address!r}, logging_level='ERROR'); print(len(ray.nodes()), 'node')"
    # Without the first Ray takes the loopback address for that of the node.
    given = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.mark.slow
def test_only_those_with_the_token_join_the_cluster_of_a_run(tmp_path: Path) -> None:
    with Launched(*BOOTH, "stop.seconds=200", cwd=tmp_path) as launched:
        launched.wait_for((tmp_path / "results" / "run" / "commits.arrow").is_file)
        (port,) = {c.laddr.port for c in launched.head().net_connections("inet") if c.status == psutil.CONN_LISTEN}
        stranger = joins(f"127.0.0.1:{port}", RAY_AUTH_TOKEN="x" * 64)
        assert stranger.returncode != 0
        assert "token" in stranger.stderr
        member = joins(f"127.0.0.1:{port}")
        assert "1 node" in member.stdout, member.stderr


@pytest.mark.slow
def test_a_full_disk_ends_a_run_that_only_this_machine_can_reach(tmp_path: Path) -> None:
    """Ports that are taken, an environment with secrets; then no file may grow any longer."""
    folder = tmp_path / "results" / "run"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 6379))
        taken.listen()
        with Launched(*BOOTH, "stop.seconds=200", cwd=tmp_path, MY_TOKEN=SECRET, WANDB_API_KEY=SECRET) as launched:
            driver = psutil.Process(launched.process.pid)
            stream = folder / "commits.arrow"
            launched.wait_for(lambda: stream.is_file() and stream.stat().st_size > 10_000)
            addresses = listening([driver, *launched.processes()])
            assert addresses
            assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
            most = stream.stat().st_size + 100_000
            driver.rlimit(psutil.RLIMIT_FSIZE, (most, most))
            assert launched.end() == 1
            assert launched.left_over() == []
    run = results.load(folder)
    assert (run.status, run.info["reason"]) == (
        "failed",
        f"{stream}: File too large; make room or choose another place",
    )
    assert run.info["reason"] in launched.output
    assert "Traceback" not in launched.output
    assert len(run.commits) > 100
    assert not (folder / ".reserve").exists()
    kept = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(kept) > 3
    assert not any(SECRET.encode() in path.read_bytes() for path in kept)


@pytest.mark.slow
def test_without_memory_ray_ends_a_worker_and_the_run_says_so(tmp_path: Path) -> None:
    limits = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    with Launched(*BOOTH, "stop.seconds=200", cwd=tmp_path, **limits) as launched:
        assert launched.end() == 1
        assert launched.left_over() == []
    told = json.loads((tmp_path / "results" / "run" / "run.json").read_text())
    assert told["status"] == "failed"
    assert "low on memory" in told["reason"]
    assert "Traceback" not in launched.output


@pytest.mark.slow
def test_a_home_that_cannot_be_written_is_not_needed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder at all")
    with Launched(*BOOTH, "stop.updates=20", cwd=tmp_path, HOME=str(home)) as launched:
        assert launched.end() == 0, launched.output
        assert launched.left_over() == []
    assert results.load(tmp_path / "results" / "run").status == "stopped"


def test_sockets_have_names_that_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    assert launch._short_folder() == {}
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + 4 * "long_scratch_folder_")
    assert launch._short_folder() == {"_temp_dir": "/tmp/ray"}
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DistoptError, match="set RAY_TMPDIR to a folder with a short name"):
        launch._short_folder()

"""Real processes: a parameter-server actor and worker actors on Ray, on the wall clock.

Training starts when every actor has compiled its programs. The driver collects records during training, and evaluates
snapshots of the center after it. So neither compilation nor evaluation takes time from training, except where
checkpoints, `stop.accuracy`, `stop.loss` or `stop.target` need evaluations during training.
"""

import os
import secrets
import socket
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

from distopt.datasets.dataset import in_memory
from distopt.errors import ConfigError, DistoptError
from distopt.launchers.ray import local_state
from distopt.launchers.ray.driver import Crew, Stopped
from distopt.launchers.ray.evaluation import Lost
from distopt.launchers.ray.layout import Layout, layout
from distopt.records import Interrupted, Launch, News, Outcome, Watch
from distopt.runs.provenance import cores
from distopt.training.experiment import Experiment
from distopt.trees import tree_bytes

CLOCK = "wall"
SOCKET = "/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
LONGEST_SOCKET = 107  # bytes of the name of a Unix socket
ANSWER_S = 5
RESTORED = 3  # times from one checkpoint: after these, the next server would most likely fail too
TOGETHER = False


def check(experiment: Experiment) -> list[str]:
    """Return warnings about a local run; raises ConfigError if the machine lacks what it needs, or nobody answers."""
    if (address := experiment.config["launcher"]["address"]) is not None:
        _call(address)
        return []
    return _warnings(experiment, layout(experiment, cores(), None))


def _call(address: str) -> None:
    """Raise ConfigError if nobody listens at `HOST:PORT`; Ray would try for minutes. Other forms are left to Ray."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"launcher.address={address}: nobody answers there ({why}); give the address that `ray start --head` "
            "printed, or null for a cluster of this machine"
        ) from None


def _warnings(experiment: Experiment, planned: Layout) -> list[str]:
    if experiment.workers > cores() and not planned.gpus:
        return [
            f"{experiment.workers} workers share {cores()} cores: wall-clock times measure contention as well as "
            "algorithms; launcher=sim measures algorithms alone"
        ]
    return []


def launch(experiments: Sequence[Experiment], watch: Watch, interrupted: Interrupted) -> Launch:
    """Train on Ray; see `distopt.launchers`."""
    (experiment,) = experiments
    ray = _connect(experiment)
    restored: Counter[int] = Counter()  # number of restores from each checkpoint, by its update
    epoch = experiment.start.numbers["epoch"] + 1 if experiment.start else 0
    crew = Crew(ray, experiment, epoch)
    try:
        while True:
            try:
                crew.start(watch, interrupted)
            except Stopped:
                when = "while the server was restored" if restored else "before training began"
                yield News([], [], outcome=Outcome("interrupted", when, None, {}))
                return
            status, reason = yield from crew.train(interrupted)
            start = crew.checkpoint
            if not crew.lost or start is None or not _can_restore(experiment, restored[start.update]):
                break
            restored[start.update] += 1
            yield News([], [], undone=reason)
            crew.dismiss()
            watch.back(start.numbers["seconds"])
            epoch += 1
            crew = Crew(ray, experiment._replace(start=start), epoch)
        watch.enter("evaluate")
        details = crew.details()
        try:
            yield from crew.evaluate()
        except Lost as error:
            status, reason = "failed", reason if status == "failed" else str(error)
        yield News([], [], outcome=Outcome(status, reason, crew.center(), details))
    finally:
        crew.dismiss()
        ray.shutdown()


def _can_restore(experiment: Experiment, times: int) -> bool:
    """Return whether to restore a lost server from a checkpoint that served `times` restores before."""
    return experiment.config["launcher"]["on_server_loss"] == "restore" and times < RESTORED


def _short_folder() -> dict[str, str]:
    """Return where Ray shall put its files, if the names of its sockets would be too long where it puts them itself.

    Raises:
        DistoptError: there is no folder with a short name.
    """
    usual = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(f"{usual}{SOCKET}")) <= LONGEST_SOCKET:
        return {}
    short = next((folder for folder in ("/tmp", "/var/tmp") if os.access(folder, os.W_OK | os.X_OK)), None)
    if short is None:
        raise DistoptError(
            f"TMPDIR={usual}: the names of Ray's sockets there have more than {LONGEST_SOCKET} bytes; set "
            "RAY_TMPDIR to a folder with a short name"
        )
    return {"_temp_dir": f"{short}/ray"}


def _connect(experiment: Experiment) -> Any:
    """Start a local cluster or join an existing one; return the module `ray`.

    Raises:
        DistoptError: no cluster answers there, or none can be started here.
    """
    settings = experiment.config["launcher"]
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else `uv run` re-creates the environment per actor
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if settings["address"] is None:  # Ray then allows no second node, and binds to the loopback interface alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    home = os.path.expanduser("~")
    if settings["address"] is None and not (os.path.isdir(home) and os.access(home, os.W_OK)):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray would write its token into the home folder
    import ray

    common = {"log_to_driver": settings["log_to_driver"], "logging_level": "ERROR"}
    if settings["address"] is not None:
        try:
            ray.init(address=settings["address"], **common)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DistoptError(f"launcher.address={settings['address']}: no Ray cluster answers ({error})") from None
        return ray
    data = in_memory((data.train, data.validation)) if (data := experiment.dataset) else 0
    kept = experiment.workers * tree_bytes(local_state.layout(experiment))  # travels with checkpoints and late commits
    needed = int(1.5 * data) + 8 * 4 * experiment.parameters + 3 * kept
    memory = settings["object_store_bytes"] or max(200 * 2**20, needed)
    os.environ.setdefault("RAY_worker_niceness", "0")
    common |= _short_folder()
    try:
        ray.init(address="local", num_cpus=cores(), include_dashboard=False, object_store_memory=memory, **common)
    except Exception as error:  # a node that does not come up in time raises a plain Exception
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DistoptError(f"launcher: Ray does not start ({words}); launcher=sim needs no Ray") from None
    return ray

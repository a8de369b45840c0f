"""Real processes: a parameter-server actor and worker actors on Ray, on the wall clock.

Training starts when every actor has compiled its programs. The driver collects records while it goes on, and evaluates
snapshots of the center after it: neither compilation nor evaluation takes time from training.
"""

import math
import os
import secrets
from importlib.util import find_spec
from typing import Any, NamedTuple

from distopt.errors import ConfigError, DistoptError
from distopt.evaluation import reached
from distopt.experiment import Experiment
from distopt.launchers import Interrupted, Launch, News, Outcome, Watch
from distopt.launchers.ray_host import Host
from distopt.provenance import cores
from distopt.replica import shapes
from distopt.trees import named

CLOCK = "wall"
POLL_S = 0.2
SERVER = "distopt.launchers.ray_server:ParameterServer"
WORKER = "distopt.launchers.ray_worker:WorkerGroup"
NO_RETRIES = {"max_restarts": 0, "max_task_retries": 0}  # a retried call would apply a commit twice; see `exchange`
CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


class Layout(NamedTuple):
    """Which workers share an actor, and what each actor needs."""

    hosted: list[list[int]]
    cpus: float
    gpus: float


class Stopped(DistoptError):
    """The user interrupted before training began."""


def check(experiment: Experiment) -> list[str]:
    """Return warnings about a local run; raises ConfigError if the machine lacks what it needs."""
    if experiment.config["launcher"]["address"] is not None:
        return []
    return _warnings(experiment, _layout(experiment, cores(), None))


def _layout(experiment: Experiment, cpus: float, gpus: float | None) -> Layout:
    """Deal the workers to actors: by default as many actors as there are GPUs, or else cores.

    Args:
        experiment: the run.
        cpus: cores there are.
        gpus: GPUs there are; None: not known yet, checked once Ray has counted them.

    Raises:
        ConfigError: more cores or GPUs are asked for than there are.
    """
    settings, n = experiment.config["launcher"], experiment.workers
    usable = any(map(find_spec, CUDA_PLUGINS))
    per_actor = settings["gpus_per_actor"]
    if per_actor is None:
        per_actor = 1 if gpus and usable else 0
    elif per_actor and not usable:
        raise ConfigError("launcher.gpus_per_actor: this JAX has no CUDA support; install distopt[cuda12] or [cuda13]")
    places = int(cpus / settings["cpus_per_actor"])
    if per_actor and gpus is not None:
        places = min(places, int(gpus / per_actor + 1e-9))
    each = settings["workers_per_actor"] or math.ceil(n / max(1, min(n, places)))
    actors = math.ceil(n / each)
    if actors > places and not (per_actor and gpus is None):
        need = f"{actors * settings['cpus_per_actor']:g} CPU" + (f" + {actors * per_actor:g} GPU" if per_actor else "")
        have = f"{cpus:g} CPU" + (f" + {gpus:g} GPU" if per_actor else "")
        raise ConfigError(
            f"launcher: {n} workers in {actors} actors need {need}, there are {have}: set launcher.workers_per_actor="
            f"{math.ceil(n / max(places, 1))} or more, or lower launcher.cpus_per_actor or launcher.gpus_per_actor"
        )
    return Layout(
        [list(range(first, min(first + each, n))) for first in range(0, n, each)], settings["cpus_per_actor"], per_actor
    )


def _warnings(experiment: Experiment, layout: Layout) -> list[str]:
    if experiment.workers > cores() and not layout.gpus:
        return [
            f"{experiment.workers} workers share {cores()} cores: wall-clock times measure contention as well as "
            "algorithms; launcher=sim measures algorithms alone"
        ]
    return []


def launch(experiment: Experiment, watch: Watch, interrupted: Interrupted) -> Launch:
    """Train on Ray; see `distopt.launchers`."""
    ray = _connect(experiment)
    crew = Crew(ray, experiment, interrupted)
    try:
        try:
            crew.start(watch)
        except Stopped:
            return Outcome("interrupted", "before training began", None, {})
        outcome = yield from crew.train()
        watch.enter("evaluate")
        outcome = outcome._replace(center=crew.center(), details=crew.details())
        yield from crew.evaluate()
        return outcome
    finally:
        crew.dismiss()
        ray.shutdown()


def _connect(experiment: Experiment) -> Any:
    """Start a local cluster or join an existing one; return the module `ray`.

    Raises:
        DistoptError: no cluster answers there.
    """
    settings = experiment.config["launcher"]
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # or `uv run` re-creates the environment per actor
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if settings["address"] is None and not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # Ray would write its token into the home folder
    import ray

    common = {"log_to_driver": settings["log_to_driver"], "logging_level": "ERROR"}
    if settings["address"] is not None:
        try:
            ray.init(address=settings["address"], **common)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DistoptError(f"launcher.address={settings['address']}: no Ray cluster answers ({error})") from None
        return ray
    data = sum(array.nbytes for array in experiment.dataset[1:5]) if experiment.dataset else 0
    memory = settings["object_store_bytes"] or max(200 * 2**20, int(1.5 * data) + 8 * 4 * experiment.parameters)
    ray.init(address="local", num_cpus=cores(), include_dashboard=False, object_store_memory=memory, **common)
    return ray


class Crew:
    """The actors of one run, seen from the driver."""

    def __init__(self, ray: Any, experiment: Experiment, interrupted: Interrupted) -> None:
        self._ray = ray
        self._experiment = experiment
        self._interrupted = interrupted
        self._timeout = experiment.config["launcher"]["timeout"]
        self._group: Any = None
        self._workers: list[Any] = []
        self._evaluator: Any = None
        self._snapshots = self._evaluated = 0

    def start(self, watch: Watch) -> None:
        """Create the actors, let all of them compile at the same time, and start the clock.

        Raises:
            ConfigError: the cluster lacks CPUs or GPUs.
            DistoptError: an actor did not come up in time.
            Stopped: the user interrupted.
        """
        experiment = self._experiment
        resources = self._ray.cluster_resources()
        self.layout = _layout(experiment, resources.get("CPU", 0), resources.get("GPU", 0))
        self._data = self._ray.put(experiment.dataset)
        self._create()
        node = self._get(self._server.call.remote("open"))
        watch.enter("compile")
        path, *_ = self._get(
            [
                self._server.call.remote("prepare", shapes(experiment), experiment.evaluate_every),
                *[worker.call.remote("prepare", self._server) for worker in self._workers],
            ]
        )
        center = self._workers[0].call.remote("initial")
        self._get([worker.call.remote("attach", path, node) for worker in self._workers])
        self._get(self._server.call.remote("start", center))
        self._training = {worker.call.remote("train"): i for i, worker in enumerate(self._workers)}
        watch.enter("train")

    def _create(self) -> None:
        """Reserve the places of all actors together, then create them."""
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        config = self._experiment.config
        bundle = {"CPU": self.layout.cpus} | ({"GPU": self.layout.gpus} if self.layout.gpus else {})
        self._group = placement_group([bundle] * len(self.layout.hosted), strategy=config["launcher"]["placement"])
        self._get(self._group.ready(), "free places on the cluster")
        self._server = self._actor(SERVER, config, self._experiment.workers, concurrency=self._experiment.workers + 8)
        for index, hosted in enumerate(self.layout.hosted):
            place = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)
            self._workers.append(self._worker(hosted, self.layout.cpus, self.layout.gpus, scheduling_strategy=place))
        if any(config["stop"][key] is not None for key in ("accuracy", "loss")):  # must be known while training goes on
            self._evaluator = self._worker([])

    def _worker(self, hosted: list[int], cpus: float = 0, gpus: float = 0, **options: Any) -> Any:
        """Create a worker actor; without workers to host it only evaluates."""
        config = self._experiment.config
        return self._actor(WORKER, config, self._data, hosted, cpus=cpus, gpus=gpus, **options)

    def _actor(
        self, target: str, *arguments: Any, cpus: float = 0, gpus: float = 0, concurrency: int = 4, **options: Any
    ) -> Any:
        """Create an actor that dies with the driver and is never restarted."""
        actor = self._ray.remote(Host).options(
            num_cpus=cpus, num_gpus=gpus, max_concurrency=concurrency, **NO_RETRIES, **options
        )
        return actor.remote(_environment(cpus, gpus), target, *arguments)

    def _get(self, refs: Any, what: str = "the actors to start") -> Any:
        """Wait for results, at most `launcher.timeout` seconds, and give way to an interrupt."""
        waited = 0.0
        many = refs if isinstance(refs, list) else [refs]
        from ray.exceptions import RayError

        while True:
            ready, pending = self._ray.wait(many, num_returns=len(many), timeout=POLL_S)
            try:
                values = [self._ray.get(ref) for ref in ready]
            except RayError as error:
                raise DistoptError(f"launcher: an actor failed: {_cause(error)}") from None
            if not pending:
                return values if isinstance(refs, list) else values[0]
            waited += POLL_S
            if self._interrupted():
                raise Stopped("interrupted")
            if waited > self._timeout:
                raise DistoptError(f"launcher.timeout={self._timeout}: gave up waiting for {what}; see `ray status`")

    def train(self) -> Launch:
        """Collect records until every worker has stopped; return the outcome without the center."""
        from ray.exceptions import RayError

        pending, failure = dict(self._training), None
        while pending:
            ready, _ = self._ray.wait(list(pending), num_returns=len(pending), timeout=POLL_S)
            for ref in ready:
                hosted = self.layout.hosted[pending.pop(ref)]
                try:
                    self._ray.get(ref)
                except RayError as error:
                    failure = failure or f"workers {', '.join(map(str, hosted))} failed: {_cause(error)}"
                    self._server.call.remote("end", "failed", failure)
            if self._interrupted():
                self._server.call.remote("end", "interrupted", "stopped by a signal")
            try:
                rows, self._snapshots, ended = self._ray.get(self._server.call.remote("news"), timeout=self._timeout)
            except RayError as error:
                self._server = None
                return Outcome("failed", f"the parameter server failed: {_cause(error)}", None, {})
            yield News(rows, self._watch_target())
        if failure:
            return Outcome("failed", failure, None, {})
        return Outcome(*(ended or ("done", None)), None, {})

    def _watch_target(self) -> list[dict[str, Any]]:
        """Evaluate while training goes on, if a stop criterion needs it; return the new rows."""
        found = []
        while self._evaluator and self._evaluated < self._snapshots:
            rows = self._evaluate(self._evaluator)
            found += rows
            if reason := reached(self._experiment.config["stop"], rows):
                self._server.call.remote("end", "stopped", reason)
        return found

    def _evaluate(self, actor: Any) -> list[dict[str, Any]]:
        """Evaluate the next snapshot on an actor."""
        rows = self._ray.get(actor.call.remote("evaluate", self._server.call.remote("snapshot", self._evaluated)))
        self._evaluated += 1
        return rows

    def evaluate(self) -> Launch:
        """Evaluate the snapshots that are left, on any actor that is alive."""
        if self._server is None:
            return
        actor = self._evaluator or next(iter(self._alive), None)
        if actor is None:
            actor = self._worker([])
        self._snapshots = self._get(self._server.call.remote("close"))
        while self._evaluated < self._snapshots:
            yield News([], self._evaluate(actor))

    def center(self) -> dict[str, Any] | None:
        """Return the final center by name; None if it died with the server."""
        if self._server is None:
            return None
        index = self._get(self._server.call.remote("close")) - 1
        return named(self._ray.get(self._server.call.remote("snapshot", index))[1])

    def details(self) -> dict[str, Any]:
        """Return what `run.json` says about the actors."""
        from ray.exceptions import RayError

        self._alive, actors = [], []
        for worker in self._workers:
            try:
                actors.append(self._ray.get(worker.call.remote("describe"), timeout=self._timeout))
                self._alive.append(worker)
            except RayError:
                continue
        return {"actors": actors, "cpus_per_actor": self.layout.cpus, "gpus_per_actor": self.layout.gpus}

    def dismiss(self) -> None:
        """End every actor and free their places."""
        from ray.util.placement_group import remove_placement_group

        for actor in [*self._workers, self._evaluator, self._server]:
            if actor is not None:
                self._ray.kill(actor)
        if self._group is not None:
            remove_placement_group(self._group)


def _cause(error: Exception) -> str:
    """Return the line of an actor's error that says what happened."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"


def _environment(cpus: float, gpus: float) -> dict[str, str]:
    """Return the environment variables of an actor: JAX's platform and threads."""
    threads = str(max(1, int(cpus)))
    variables = {"JAX_PLATFORMS": "cuda" if gpus else "cpu", "PJRT_NPROC": threads}
    variables |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    if 0 < gpus < 1:
        variables["XLA_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.3f}"
    return variables

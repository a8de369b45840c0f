"""The actors of a run: their placement, their resources and how long they live."""

from typing import Any

from distopt.launchers.ray.host import EvaluatorHost, Host, ServerHost, WorkerHost, environment
from distopt.launchers.ray.layout import Layout
from distopt.training.experiment import Experiment

SERVER = "distopt.launchers.ray.server_actor:ParameterServer"
WORKER = "distopt.launchers.ray.worker_actor:WorkerGroup"
NO_RETRIES = {"max_restarts": 0, "max_task_retries": 0}  # a retried call would apply a commit twice; see `exchange`


class Actors:
    """Makes the actors of a run."""

    def __init__(self, ray: Any, experiment: Experiment, layout: Layout) -> None:
        from ray.util.placement_group import placement_group

        self._ray = ray
        self._experiment = experiment
        self._layout = layout
        self._data = ray.put(experiment.dataset)
        bundle = {"CPU": layout.cpus} | ({"GPU": layout.gpus} if layout.gpus else {})
        strategy = experiment.config["launcher"]["placement"]
        self._places = placement_group([bundle] * len(layout.hosted), strategy=strategy)

    def reserved(self) -> Any:
        """Return a reference that is ready once all places for workers are reserved."""
        return self._places.ready()

    def server(self, epoch: int) -> Any:
        """Create the server, on the driver's node if possible: then it depends on no other machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)
        n, budget = self._experiment.workers, self._experiment.budget.tolist()
        calls = 4 * n + 8  # at a time: a commit may wait for its quorum, and be sent again meanwhile
        config = self._experiment.config
        options = {"max_concurrency": calls, "scheduling_strategy": here}
        return self._actor(ServerHost, SERVER, config, n, budget, epoch, self._experiment.reach, **options)

    def worker(self, hosted: list[int]) -> Any:
        """Create the worker actor that hosts some workers, in the place reserved for it."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        index, layout = self._layout.hosted.index(hosted), self._layout
        place = PlacementGroupSchedulingStrategy(self._places, placement_group_bundle_index=index)
        return self._group(WorkerHost, hosted, cpus=layout.cpus, gpus=layout.gpus, scheduling_strategy=place)

    def evaluator(self) -> Any:
        """Create a worker actor that hosts no workers, and only evaluates."""
        return self._group(EvaluatorHost, [])

    def _group(self, host: type[Host], hosted: list[int], **options: Any) -> Any:
        return self._actor(host, WORKER, self._experiment.config, self._data, hosted, **options)

    def _actor(
        self, host: type[Host], target: str, *arguments: Any, cpus: float = 0, gpus: float = 0, **options: Any
    ) -> Any:
        """Create an actor that dies with the driver and is never restarted."""
        options = {"max_concurrency": 4} | NO_RETRIES | options
        actor = self._ray.remote(host).options(num_cpus=cpus, num_gpus=gpus, **options)
        return actor.remote(environment(cpus, gpus), target, *arguments)

    def free(self) -> None:
        """Free the places."""
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(self._places)

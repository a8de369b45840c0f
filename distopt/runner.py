"""One run from its configuration to its folder: the only place where launchers, recorder and display meet."""

import importlib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from distopt import config as configuration
from distopt import experiment as experiments
from distopt.display import Display
from distopt.errors import ConfigError, DistoptError
from distopt.experiment import Experiment
from distopt.launchers import News, Outcome, Watch
from distopt.provenance import code, peak_memory, provenance
from distopt.recorder import Recorder, make_folder
from distopt.trackers import Tracking

if TYPE_CHECKING:
    from distopt.results import Run


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop, the second into KeyboardInterrupt."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        """Install the handlers; outside the main thread signals are left alone."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        except ValueError:
            pass
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether the run shall stop."""
        return self.requested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"distopt: {signal.Signals(number).name}: stopping; once more to abort at once", file=sys.stderr)


def run(config: DictConfig | Mapping[str, Any], console: Console | None = None, watch: Watch | None = None) -> "Run":
    """Run one experiment and return its results.

    Args:
        config: as composed by Hydra (`distopt.config.compose`), or the same as plain containers.
        console: where progress is shown; None: nowhere.
        watch: started when the command was; None: starts now.

    Raises:
        ConfigError: anything wrong with the configuration, before anything starts.
        DistoptError: a failure that left no folder, or whose folder says what happened.
    """
    watch = watch or Watch()
    console = console or Console(quiet=True)
    composed = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    plain = configuration.validate(composed)
    if plain["seeds"] is not None:
        raise ConfigError(f"seeds={plain['seeds']} are several runs: use `distopt run`, or call this once per seed")
    experiment = experiments.build(plain)
    launcher = importlib.import_module(f"distopt.launchers.{plain['launcher']['name']}")
    found = experiment.warnings() + launcher.check(experiment)
    mark = configuration.fingerprint(plain)
    folder = make_folder(plain, mark)
    info = _info(experiment, mark, launcher.CLOCK)
    warn = partial(_warn, console, info["warnings"])
    for warning in found:
        warn(warning)
    tracking = Tracking(plain, info, folder, experiment.evaluate_every, warn)
    recorder = Recorder(folder, plain, info)
    outcome = _drive(experiment, launcher, (recorder.write, tracking.log), watch, console)
    watch.enter("evaluate")
    details = {**outcome.details, "peak_memory_bytes": peak_memory()}
    returns = plain["launcher"]["name"] == "sim" and plain["cluster"]["failures"]["mean_time_s"] is not None
    recorder.finish(outcome._replace(details=details), watch.seconds, returns=returns)
    from distopt import results  # imports pandas: late, for a quick start

    finished = results.load(folder)
    tracking.finish(finished.status, finished.summary)
    return finished


def _warn(console: Console, warnings: list[str], warning: str) -> None:
    """Show a warning and keep it for `run.json`."""
    warnings.append(warning)
    console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True, highlight=False)


def _info(experiment: Experiment, mark: str, clock: str) -> dict[str, Any]:
    """Return what `run.json` says from the start."""
    data = experiment.dataset
    return {
        "fingerprint": mark,
        "workload": configuration.workload(experiment.config),
        "code": code(experiment.config["optimizer"]["name"]),
        "seed": experiment.seed,
        "clock": clock,
        "launcher": experiment.config["launcher"]["name"],
        "workers": experiment.workers,
        "parameters": experiment.parameters,
        "train_samples": data.size if data else None,
        "classes": data.classes if data else None,
        "shard_sizes": [len(shard) for shard in experiment.shards] if data else None,
        "local_steps": int(experiment.budget.sum()) if experiment.limited else None,
        "warnings": [],
        **provenance(),
    }


def _drive(
    experiment: Experiment, launcher: Any, take: Sequence[Callable[[News], None]], watch: Watch, console: Console
) -> Outcome:
    """Let the launcher train while its news are recorded and shown; every end becomes an outcome."""
    with (
        Interrupt() as interrupted,
        Display(console, title(experiment), experiment.train_samples, experiment.expected_updates) as display,
    ):
        training = launcher.launch(experiment, watch, interrupted)
        try:
            while True:
                news = next(training)
                for each in (*take, display.update):
                    each(news)
        except StopIteration as end:
            return end.value
        except DistoptError as error:
            return Outcome("failed", str(error), None, {})
        except KeyboardInterrupt:
            return Outcome("interrupted", "aborted", None, {})
        finally:
            training.close()


def title(experiment: Experiment) -> str:
    """Return a line that says what a run is."""
    config = experiment.config
    what = [config[group]["name"] for group in ("dataset", "model") if config[group]["name"] != "none"]
    words = [
        f"{config['optimizer']['name']} on {' with '.join(what)}",
        f"{experiment.workers} workers, window {experiment.window}, batch {experiment.batch_size}",
        f"seed {experiment.seed}",
        f"launcher {config['launcher']['name']}",
    ]
    return " · ".join(words)

"""One run from its configuration to its folder: the only place where launchers, recorder and display meet."""

import importlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from distopt import config as configuration
from distopt import experiment as experiments
from distopt.display import Display
from distopt.errors import ConfigError, DistoptError
from distopt.experiment import Experiment
from distopt.launchers import Outcome, Watch
from distopt.provenance import peak_memory, provenance
from distopt.recorder import Recorder, make_folder

if TYPE_CHECKING:
    from distopt.results import Run


FINISHED = ("done", "stopped")


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
    composed = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    if composed.get("seeds") is not None:
        raise ConfigError(f"seeds={composed.seeds} are several runs: use `distopt run`, or call this once per seed")
    (finished,) = run_together([composed], console, watch)
    return finished


def run_together(
    configs: Sequence[DictConfig], console: Console | None = None, watch: Watch | None = None
) -> list["Run"]:
    """Run experiments that differ in nothing but the seed, at the same time if the launcher can; see `run`.

    Each leaves the folder that it would have left alone; the seconds in `run.json` are its share of the whole.
    """
    watch = watch or Watch()
    console = console or Console(quiet=True)
    built = [experiments.build(configuration.validate(config)) for config in configs]
    launcher = importlib.import_module(f"distopt.launchers.{built[0].config['launcher']['name']}")
    if len(built) > 1 and not launcher.TOGETHER:
        raise ValueError(f"launcher={built[0].config['launcher']['name']} takes one run at a time")
    recorders: list[Recorder] = []
    for experiment in built:
        warnings = experiment.warnings() + launcher.check(experiment)
        mark = configuration.fingerprint(experiment.config)
        folder = make_folder(experiment.config, mark)
        for warning in warnings if not recorders else []:
            console.print(f"[yellow]warning:[/] {warning}", soft_wrap=True, highlight=False)
        info = _info(experiment, mark, warnings, launcher.CLOCK)
        if len(built) > 1:
            info["trained_together"] = len(built)
        recorders.append(Recorder(folder, experiment.config, info))
    outcomes = _drive(built, launcher, recorders, watch, console)
    watch.enter("evaluate")
    seconds = {phase: value / len(built) for phase, value in watch.seconds.items()}
    settings = built[0].config
    returns = settings["launcher"]["name"] == "sim" and settings["cluster"]["failures"]["mean_time_s"] is not None
    for recorder, outcome in zip(recorders, outcomes, strict=True):
        details = {**outcome.details, "peak_memory_bytes": peak_memory()}
        recorder.finish(outcome._replace(details=details), seconds, returns=returns)
    from distopt import results  # imports pandas: late, for a quick start

    return [results.load(recorder.folder) for recorder in recorders]


def expand(config: DictConfig) -> list[DictConfig]:
    """Return one configuration per entry of `seeds`; the configuration itself if there are none.

    Raises:
        ConfigError: anything wrong with the configuration.
    """
    if config.get("seeds") is None:
        return [config]
    configuration.validate(config)
    return [OmegaConf.merge(config, {"seed": seed, "seeds": None}) for seed in config.seeds]  # type: ignore[misc]


def find_finished(config: DictConfig) -> Path | None:
    """Return the folder of a finished run with the same fingerprint below `output`, or None.

    Raises:
        ConfigError: anything wrong with the configuration.
    """
    plain = configuration.validate(config)
    mark = configuration.fingerprint(plain)
    for path in sorted(Path(plain["output"]).glob("*/run.json")):
        try:
            info = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # not a run that can be relied on
        if info.get("fingerprint") == mark and info.get("status") in FINISHED:
            return path.parent.absolute()
    return None


def _info(experiment: Experiment, mark: str, warnings: list[str], clock: str) -> dict[str, Any]:
    """Return what `run.json` says from the start."""
    data = experiment.dataset
    return {
        "fingerprint": mark,
        "seed": experiment.seed,
        "clock": clock,
        "launcher": experiment.config["launcher"]["name"],
        "workers": experiment.workers,
        "parameters": experiment.parameters,
        "train_samples": data.size if data else None,
        "classes": data.classes if data else None,
        "shard_sizes": [len(shard) for shard in experiment.shards] if data else None,
        "local_steps": int(experiment.budget.sum()) if experiment.limited else None,
        "warnings": warnings,
        **provenance(),
    }


def _drive(
    built: Sequence[Experiment], launcher: Any, recorders: Sequence[Recorder], watch: Watch, console: Console
) -> list[Outcome]:
    """Let the launcher train while its news are recorded and shown; every end becomes an outcome."""
    updates = built[0].expected_updates
    with (
        Interrupt() as interrupted,
        Display(console, title(built), built[0].train_samples, updates) as display,
    ):
        training = launcher.launch(built, watch, interrupted)
        try:
            while True:
                news = next(training)
                recorders[news.run].write(news)
                display.update(news)
        except StopIteration as end:
            return end.value
        except DistoptError as error:
            return [Outcome("failed", str(error), None, {})] * len(built)
        except KeyboardInterrupt:
            return [Outcome("interrupted", "aborted", None, {})] * len(built)
        finally:
            training.close()


def title(built: Sequence[Experiment]) -> str:
    """Return a line that says what runs are about that differ in nothing but the seed."""
    experiment, config = built[0], built[0].config
    what = [config[group]["name"] for group in ("dataset", "model") if config[group]["name"] != "none"]
    seeds = ", ".join(str(each.seed) for each in built)
    words = [
        f"{config['optimizer']['name']} on {' with '.join(what)}",
        f"{experiment.workers} workers, window {experiment.window}, batch {experiment.batch_size}",
        f"seeds {seeds}" if len(built) > 1 else f"seed {seeds}",
        f"launcher {config['launcher']['name']}",
    ]
    return " · ".join(words)

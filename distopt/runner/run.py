"""One run from its configuration to its folder: the only place where launchers, recorder and display meet."""

import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from omegaconf import DictConfig
from rich.console import Console

from distopt import config as configuration
from distopt.errors import ConfigError, DistoptError, listed, out_of_memory, unwritten
from distopt.files.atomic import write_atomically
from distopt.launchers import launcher as launcher_of
from distopt.records import FINISHED, SHOWN, News, Outcome, Watch
from distopt.runner.display import Display
from distopt.runner.resume import Cut, pick_up
from distopt.runs.checkpoints import wanted
from distopt.runs.provenance import code_of, peak_memory, provenance
from distopt.runs.recorder import Recorder, make_folder
from distopt.trackers import Tracking
from distopt.training import experiment as experiments
from distopt.training import shape_check
from distopt.training.experiment import Experiment
from distopt.training.flops import step_flops
from distopt.trees import unnamed

if TYPE_CHECKING:
    from distopt.runs.results import Run


ABORTED = "aborted"


class Interrupt:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop, the second into KeyboardInterrupt."""

    def __init__(self, *, listens: bool) -> None:
        """Prepare; without `listens` signals are left to the caller."""
        self.requested = False
        self._numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if listens else ()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        """Install the handlers; outside the main thread signals are left alone."""
        try:
            for number in self._numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as of `nohup`
                    self._previous[number] = signal.signal(number, self._handle)
        except ValueError:
            pass
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Return whether the run should stop."""
        return self.requested

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"distopt: {signal.Signals(number).name}: stopping; once more to abort at once", file=sys.stderr)


def run(
    config: DictConfig | Mapping[str, Any],
    console: Console | None = None,
    watch: Watch | None = None,
    *,
    signals: bool = False,
) -> "Run":
    """Run one experiment and return its results.

    Args:
        config: as composed by Hydra (`distopt.config.compose`), or the same as plain containers.
        console: where progress is shown; None: nowhere.
        watch: started with the command; None: starts now.
        signals: take SIGINT, SIGTERM and SIGHUP as requests to stop, which end the run as `interrupted`. Without it
            they are the caller's; a KeyboardInterrupt is raised again once the run has kept what there is.

    Raises:
        ConfigError: anything wrong with the configuration, before anything starts.
        DistoptError: a failure that left no folder, or whose folder says what happened.
    """
    composed = config if isinstance(config, DictConfig) else configuration.from_plain(config)
    if composed.get("seeds") is not None:
        raise ConfigError(f"seeds={composed.seeds} are several runs: use `distopt run`, or call this once per seed")
    (finished,) = run_together([composed], console, watch, signals=signals)
    return finished


def run_together(
    configs: Sequence[DictConfig],
    console: Console | None = None,
    watch: Watch | None = None,
    *,
    signals: bool = False,
    said: set[str] | None = None,
) -> list["Run"]:
    """Run experiments that differ only in the seed; several need a launcher with `TOGETHER`. See `run`.

    Each leaves the same folder as if it had run alone; the seconds in `run.json` are its share of the whole. What
    earlier runs have `said` of their data is not shown again.
    """
    watch = watch or Watch()
    console = console or Console(quiet=True)
    plain = [configuration.located(configuration.validate(config)) for config in configs]
    cuts = [pick_up(each) if each["resume"] else None for each in plain]
    first = experiments.build(plain[0])
    shape_check.check(first)
    built = [first, *(experiments.build(each, first.dataset) for each in plain[1:])]
    built = [each._replace(start=cut and cut.start) for each, cut in zip(built, cuts, strict=True)]
    launcher = launcher_of(configs[0])
    found = [experiment.warnings() + launcher.check(experiment) for experiment in built]
    records = [
        _Records(experiment, launcher.CLOCK, len(built), console, cut)
        for experiment, cut in zip(built, cuts, strict=True)
    ]
    said = set() if said is None else said
    for line in first.dataset.told if first.dataset else ():
        if line not in said:
            console.print(line, markup=False, soft_wrap=True, highlight=False)
            said.add(line)
    for i, (record, warnings) in enumerate(zip(records, found, strict=True)):
        for warning in warnings:
            record.warn(warning, silently=i > 0)
    for record in records:
        record.open()
    for start in [cut.start for cut in cuts if cut and cut.start]:
        watch.add(start.numbers["seconds"])
    outcomes = _drive(built, launcher, records, watch, console, signals)
    watch.enter("evaluate")
    seconds = {phase: value / len(built) for phase, value in watch.seconds.items()}
    finished = [record.finish(outcome, seconds) for record, outcome in zip(records, outcomes, strict=True)]
    if not signals and any(outcome.reason == ABORTED for outcome in outcomes):
        raise KeyboardInterrupt
    return finished


def is_virtual(config: Mapping[str, Any]) -> bool:
    """Return whether runs of a configuration train in this process, on a virtual clock."""
    return bool(launcher_of(config).CLOCK == "virtual")


def trains_together(config: Mapping[str, Any]) -> bool:
    """Return whether the launcher of a configuration can train several seeds of it at once: not with checkpoints."""
    return launcher_of(config).TOGETHER and not wanted(config)


class _Records:
    """What is kept of one run: its folder, and the trackers that follow it."""

    def __init__(
        self, experiment: Experiment, clock: str, together: int, console: Console, cut: Cut | None = None
    ) -> None:
        self._experiment = experiment
        self._console = console
        self._cut = cut
        self._info = _info(experiment, clock) | (cut.info if cut else {})
        if together > 1:
            self._info["trained_together"] = together

    def warn(self, warning: str, silently: bool = False) -> None:
        """Keep a warning for `run.json` and show it."""
        self._info["warnings"].append(warning)
        if not silently:
            self._console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True, highlight=False)

    def open(self) -> None:
        """Make the folder, or open the one of the run to resume."""
        config, cut = self._experiment.config, self._cut
        folder = cut.folder if cut else make_folder(config, self._info)
        self._tracking = Tracking(config, self._info, folder, self._experiment.evaluate_every, self.warn)
        for problem in cut.problems if cut else ():
            self.warn(problem)
        self._recorder = Recorder(folder, self._info, cut and cut.lock, cut and cut.start)
        if cut:
            self._undo(cut.reason)

    def _undo(self, reason: str | None) -> None:
        lost = self._recorder.undo(reason)
        words = "goes on after update {update}; {lost_updates} later updates ({lost_commits} commits) are undone"
        told = f"{f'{reason}: ' if reason else ''}{words.format(**lost)}"
        self._console.print(told, soft_wrap=True, markup=False, highlight=False)

    def write(self, news: News) -> None:
        """Record news."""
        self._recorder.write(news)
        if news.undone:
            self._undo(news.undone)
        self._tracking.log(news)

    def finish(self, outcome: Outcome, seconds: Mapping[str, float]) -> "Run":
        """Close everything and return the results."""
        outcome = _sound(outcome)
        details = {**outcome.details, "peak_memory_bytes": peak_memory()}
        rules = self._experiment.optimizer
        told = outcome._replace(details=details)
        self._recorder.finish(told, seconds, pulls=rules.pulls_apart, fetch=rules.synchrony.fetch)
        self._show(told)
        from distopt.runs import results  # imports pandas: late, for a quick start

        finished = results.load(self._recorder.folder)
        self._tracking.finish(finished.status, finished.summary)
        return finished

    def _show(self, outcome: Outcome) -> None:
        """Write what the task shows of the final center, beside the other results."""
        experiment = self._experiment
        task, result = experiment.model, experiment.optimizer.result
        if task.show is None or outcome.center is None or (result and result.members):
            return
        params, state = task.init(jax.random.key(experiment.seed))
        text = task.show(unnamed(outcome.center, params), state, jax.random.key(experiment.seed))
        if text is None:
            return
        try:
            write_atomically(self._recorder.folder / SHOWN, text.encode())
        except OSError as error:
            words = f"warning: no {SHOWN}: {unwritten(error)}"
            self._console.print(words, style="yellow", markup=False, soft_wrap=True, highlight=False)


def _sound(outcome: Outcome) -> Outcome:
    """Return an outcome; it becomes `diverged` if training finished and the final center is not finite."""
    spoilt = [name for name, array in (outcome.center or {}).items() if not np.isfinite(array).all()]
    if outcome.status not in FINISHED or not spoilt:
        return outcome
    return outcome._replace(status="diverged", reason=f"the final center is not finite in {listed(spoilt, 3)}")


def _info(experiment: Experiment, clock: str) -> dict[str, Any]:
    """Return what `run.json` holds from the start."""
    data = experiment.dataset
    return {
        "fingerprint": configuration.fingerprint(experiment.config),
        "workload": configuration.workload(experiment.config),
        "contents": configuration.contents(experiment.config)
        | ({"dataset.content": data.content} if data and data.content else {}),
        "teacher": _teacher(experiment),
        "code": code_of(experiment.config),
        "seed": experiment.seed,
        "clock": clock,
        "launcher": experiment.config["launcher"]["name"],
        "workers": experiment.workers,
        "parameters": experiment.parameters,
        "step_flops": step_flops(experiment),
        "train_samples": data.size if data else None,
        "classes": data.classes if data else None,
        "kind": data.kind if data else None,
        "shape": list(data.shape) if data else None,
        "data": list(data.told) if data else [],
        "metrics": [metric._asdict() for metric in experiment.model.metrics],
        "shard_sizes": [len(shard) for shard in experiment.shards] if data else None,
        "local_steps": int(experiment.budget.sum()) if experiment.limited else None,
        "warnings": [],
        **provenance(),
    }


def _teacher(experiment: Experiment) -> dict[str, Any] | None:
    """Return what tells in `run.json` who teaches: optimizer, seed, and a hash of all settings but the seed."""
    if not (experiment.dataset and experiment.dataset.teacher):
        return None
    config = experiment.dataset.teacher.config
    name, settings = config["optimizer"]["name"], configuration.fingerprint({**config, "seed": None})
    return {"optimizer": name, "seed": config["seed"], "settings": settings}


def _drive(
    built: Sequence[Experiment],
    launcher: Any,
    records: Sequence[_Records],
    watch: Watch,
    console: Console,
    signals: bool,
) -> list[Outcome]:
    """Let the launcher train while its news are recorded and shown; every end becomes an outcome."""
    updates, outcomes = built[0].expected_updates, dict[int, Outcome]()
    with (
        Interrupt(listens=signals) as interrupted,
        Display(console, title(built), built[0].train_samples, updates, built[0].model.metrics) as display,
    ):
        training = launcher.launch(built, watch, interrupted)
        try:
            for news in training:
                records[news.run].write(news)
                if news.outcome:
                    outcomes[news.run] = news.outcome
                if news.run == 0:  # the other runs progress much like it
                    display.update(news)
            status, reason = "failed", "the launcher ended without an outcome"
        except DistoptError as error:
            status, reason = "failed", str(error)
        except OSError as error:  # of the run's folder, or of folders that libraries use
            status, reason = "failed", unwritten(error)
        except (MemoryError, RuntimeError) as error:
            if (full := out_of_memory(error)) is None:
                raise
            status, reason = "failed", full
        except KeyboardInterrupt:
            status, reason = "interrupted", ABORTED
        finally:
            training.close()
    return [outcomes.get(i, Outcome(status, reason, None, {})) for i in range(len(built))]


def title(built: Sequence[Experiment]) -> str:
    """Return a line that describes runs which differ only in the seed."""
    experiment, config = built[0], built[0].config
    what = [config[group]["name"] for group in ("dataset", "model") if config[group]["name"] != "none"]
    how = [config[group]["name"] for group in ("optimizer", "compression") if config[group]["name"] != "none"]
    seeds = ", ".join(str(each.seed) for each in built)
    words = [
        f"{' with '.join(how)} on {' with '.join(what)}",
        f"{experiment.workers} workers, window {experiment.window}, batch {experiment.batch_size}",
        f"seeds {seeds}" if len(built) > 1 else f"seed {seeds}",
        f"launcher {config['launcher']['name']}",
    ]
    return " · ".join(words)

"""Ways to commit a window and to go on from the reply."""

import jax
import jax.numpy as jnp

from distopt.rules import Message, Params, Reply, State, Steps, Window, WorkerRule


def adopt_center(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
    """Go on from the center: θᵏ ← θ̃."""
    del window
    return reply, state


def commit_delta(window: Window, state: State) -> tuple[Message, State]:
    """Send the sum of the window's local updates: Δθᵏ = end − start."""
    return jax.tree.map(jnp.subtract, window.end, window.start), state


def commit_mean_delta(window: Window, state: State) -> tuple[Message, State]:
    """Send the mean local update of the window: Δθᵏ / λ."""
    return jax.tree.map(lambda end, start: (end - start) / window.steps, window.end, window.start), state


def commit_params(window: Window, state: State) -> tuple[Message, State]:
    """Send the parameters themselves: θᵏ."""
    return window.end, state


def commit_gradients(window: Window, state: State) -> tuple[Message, State]:
    """Send the sum of the window's gradients: Σ g."""
    return window.gradient, state


def commit_gradient(window: Window, state: State) -> tuple[Message, State]:
    """Send the mean of the window's gradients: (1/λ) Σ g."""
    return jax.tree.map(lambda g: g / window.steps, window.gradient), state


DELTA = WorkerRule(commit_delta, adopt_center, sends="delta")
MEAN_DELTA = WorkerRule(commit_mean_delta, adopt_center, sends="delta")
GRADIENT = WorkerRule(commit_gradient, adopt_center, sends="gradient", steps=Steps("gradients"))
PARAMETERS = WorkerRule(commit_params, adopt_center, sends="parameters")

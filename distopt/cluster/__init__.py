"""Virtual time: how long everything takes on a cluster, and the commit order that follows from it."""

from distopt.cluster.draws import Draws, Workload
from distopt.cluster.laws import LAWS, Law
from distopt.cluster.predict import predict
from distopt.cluster.schedule import Update, check, schedule
from distopt.cluster.settings import Cluster, Link, check_settings
from distopt.cluster.workers import Commit, Joined

__all__ = [
    "LAWS",
    "Cluster",
    "Commit",
    "Draws",
    "Joined",
    "Law",
    "Link",
    "Update",
    "Workload",
    "check",
    "check_settings",
    "predict",
    "schedule",
]

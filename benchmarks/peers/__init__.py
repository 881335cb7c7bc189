"""Who is compared: each peer trains the same model on the same rows, and one harness times all in the same way."""

from benchmarks.peers.apportion import Apportion, Stochastic
from benchmarks.peers.bare_ray import BareRay
from benchmarks.peers.base import Goal, Limits, Peer, Point, Settings, follow
from benchmarks.peers.dask import DaskIncremental, DaskLbfgs
from benchmarks.peers.numpy_loop import NormalEquations, NumpyLoop
from benchmarks.peers.ray_train import RayTrain
from benchmarks.peers.scikit import SCIKIT_SGD, ScikitDirect, ScikitLbfgs

PEERS: dict[str, Peer] = {
    "numpy": NumpyLoop(),
    "normal-equations": NormalEquations(),
    "sklearn-sgd": SCIKIT_SGD,
    "sklearn-lbfgs": ScikitLbfgs(),
    "sklearn-direct": ScikitDirect(),
    "bare-ray": BareRay(),
    "dask-lbfgs": DaskLbfgs(),
    "dask-incremental": DaskIncremental(),
    "ray-train": RayTrain(),
    "local-sgd": Stochastic("local-sgd", tuned=True),
    "local-svrg": Apportion("local-svrg"),
    "sgd": Stochastic("sgd", tuned=False),
    "newton": Apportion("newton"),
    "lbfgs": Apportion("lbfgs"),
    "exact": Apportion("exact"),
}
"""By the names that the command line takes."""

__all__ = ["PEERS", "Goal", "Limits", "Peer", "Point", "Settings", "follow"]

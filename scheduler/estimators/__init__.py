"""Estimators for scikit-learn that train on Ray: ``DistributedRegressor`` and ``DistributedClassifier``.

They train as ``apportion run`` does, on the Ray that this process is connected to, on the cluster at ``address`` or
``RAY_ADDRESS``, or on an embedded one. Connection and actors stay for the next fit, until ``shutdown`` or the end of
the process. Number of workers and policy change the time of a fit, never its result.
"""

from scheduler.estimators.classifier import DistributedClassifier
from scheduler.estimators.regressor import DistributedRegressor
from scheduler.warm import WARM


def shutdown() -> None:
    """End the actors that wait for the next fit, give their leases back, and close the connection if we opened it."""
    WARM.close()


__all__ = ["DistributedClassifier", "DistributedRegressor", "shutdown"]

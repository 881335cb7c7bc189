"""An entry point as users hand it to Ray's Jobs API: it starts its actors one by one, and works once it has all."""

from __future__ import annotations

import sys
import time
from typing import Any

import ray


class Member:
    """One of a gang."""

    def ready(self) -> bool:
        """Answer as soon as it is there."""
        return True


def main() -> None:
    """Gather the gang, and let it work for a second."""
    ray.init(address="auto", log_to_driver=False)
    member: Any = ray.remote(num_cpus=1)(Member)
    gang = []
    for _ in range(int(sys.argv[1])):
        gang.append(member.remote())
        ray.get(gang[-1].ready.remote())
    time.sleep(1.0)


if __name__ == "__main__":
    main()

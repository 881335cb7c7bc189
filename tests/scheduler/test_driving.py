"""What an actor raised, as the driver tells it."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from scheduler import driving
from scheduler.driving import answer
from scheduler.errors import LostActorError, RunFailedError, UserError
from scheduler.server.calls import how_it_died
from workers.errors import BadUpdateError, CorruptionError, DataError
from workers.training import DivergedError


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def get(reference: Any, timeout: float | None = None) -> Any:
        del reference, timeout
        raise error

    monkeypatch.setattr(driving.ray, "get", get)


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (UserError("no such policy"), UserError, "no such policy"),
        (DataError("row 3"), DataError, "row 3"),
        (RunFailedError("x: no checkpoint is whole"), RunFailedError, "no checkpoint is whole"),
        (DivergedError("sgd, round 3: the loss has grown"), RunFailedError, "the loss has grown"),
        (CorruptionError("worker-1 and worker-2 differ"), RunFailedError, "worker-1 and worker-2 differ"),
        (BadUpdateError("worker worker-1, shards [3]: not finite"), RunFailedError, "worker-1, shards"),
        (ray.exceptions.ObjectStoreFullError("full"), RunFailedError, "--object-store-memory"),
        (ray.exceptions.OutOfDiskError("full"), RunFailedError, "object store is full, or its disk"),
        (ZeroDivisionError("a defect"), RunFailedError, "the parameter server failed: ZeroDivisionError"),
    ],
)
def test_what_an_actor_raised_is_raised_as_itself_or_told(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, kind: type[Exception], message: str
) -> None:
    raising(monkeypatch, ray.exceptions.RayTaskError("run", "traceback", cause))
    with pytest.raises(kind, match=message) as raised:
        answer(None)
    assert type(raised.value) is kind


def test_no_answer_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ray.exceptions.GetTimeoutError("timeout"))
    with pytest.raises(LostActorError, match="the parameter server has not answered for 30 s"):
        answer(None, 30.0)


DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: SgdWorker
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was killed
by the OOM killer due to high memory usage"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ray.exceptions.RayActorError(error_msg=DIED), ("its process died", False)),
        (ray.exceptions.OutOfMemoryError("memory"), ("Ray killed it, since its node was running low on memory", True)),
        (
            ray.exceptions.RayActorError(error_msg="1 worker(s) were killed due to the node running low on memory."),
            ("Ray killed it, since its node was running low on memory", True),
        ),
        (ray.exceptions.RayActorError(error_msg="The actor died because its node has died."), ("its node died", False)),
        (ray.exceptions.RayActorError(), ("its process died", False)),
    ],
)
def test_how_it_died_in_a_few_words(error: Exception, told: tuple[str, bool]) -> None:
    text, of_memory = how_it_died(error)
    assert (text[: len(told[0])], of_memory) == told
    assert len(text) < 120

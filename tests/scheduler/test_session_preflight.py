"""Before a cluster is touched: no other package shadows ours, and the address can be meant."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from scheduler.errors import UserError
from scheduler.session import HOME, PACKAGES, connect, refuse_shadows


def culprits(*folders: Path | str) -> list[str]:
    with pytest.raises(UserError) as caught:
        refuse_shadows([str(folder) for folder in folders])
    first, *named, last = str(caught.value).splitlines()
    assert first.startswith("these would be imported in place of apportion's own packages")
    assert last == "rename or uninstall them, or start from another folder"
    return [line.removeprefix("  - ") for line in named]


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("form", ["{}/__init__.py", "{}.py"])
def test_another_package_or_module_of_our_name_is_refused(tmp_path: Path, name: str, form: str) -> None:
    other = tmp_path / form.format(name)
    other.parent.mkdir(exist_ok=True)
    other.write_text("")
    assert culprits(tmp_path) == [str(other)]


def test_every_culprit_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text("")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "__init__.py").write_text("")
    found = culprits(tmp_path, HOME, tmp_path)
    assert sorted(found) == [str(tmp_path / "policies" / "__init__.py"), str(tmp_path / "workers.py")]


def test_an_empty_entry_is_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workers.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert culprits("") == [str(tmp_path / "workers.py")]


def test_what_shadows_nothing_is_fine(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()  # a namespace package: ours goes first
    (tmp_path / "my_workers.py").write_text("")
    refuse_shadows([str(tmp_path), str(tmp_path / "absent"), str(HOME)])


def test_our_own_folder_is_fine_by_any_path(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(HOME)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in PACKAGES:
        (linked / name).symlink_to(HOME / name)
    refuse_shadows([str(HOME), str(link), str(linked), f"{HOME}/tests/.."])


def test_the_path_of_this_process_is_fine() -> None:
    refuse_shadows()
    refuse_shadows([os.getcwd(), *sys.path])  # noqa: PTH109


def refused(address: str, cpus: int | None = None) -> str:
    with pytest.raises(UserError) as caught, connect(address, cpus):
        pytest.fail("there is no cluster there")
    return str(caught.value)


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:port", "host:-1", "http://host"])
def test_an_address_that_is_none(address: str) -> None:
    assert refused(address) == (
        f"address '{address}': expected HOST:PORT of a Ray head (port 6379 by default), or 'auto'"
    )


def test_ray_client_is_refused_with_the_way_to_go() -> None:
    assert "Ray Client is not supported; give HOST:PORT of the head" in refused("ray://127.0.0.1:10001")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "no-such-host.invalid:6379", "a..b:6379"])
def test_nobody_answers(address: str) -> None:
    message = refused(address)
    assert message.startswith(f"no Ray cluster answers at {address}: ")
    assert message.endswith("is 'ray start --head' running there?")


def test_a_closed_port_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "Connection refused" in refused(f"127.0.0.1:{port}")


def test_processors_are_for_an_embedded_cluster() -> None:
    assert refused("127.0.0.1:1", cpus=4) == (
        "--cpus is for an embedded cluster, but the cluster at 127.0.0.1:1 has its own"
    )


def test_a_connection_of_ones_own_is_neither_used_nor_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="192.0.2.1:6379"))
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append("ended"))
    assert refused("local").startswith("this process is connected already, to the Ray cluster at 192.0.2.1:6379")
    assert refused("127.0.0.1:1").startswith("no Ray cluster answers")
    assert ended == []


def test_the_address_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(UserError, match="address 'nonsense'"), connect():
        pytest.fail("there is no cluster there")

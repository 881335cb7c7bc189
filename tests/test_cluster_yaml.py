"""``cluster.yaml`` is what Ray's cluster launcher takes, and every node type carries our hints. No cloud is called."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._private.label_utils import validate_node_labels
from ray.autoscaler._private.util import prepare_config, validate_config

from scheduler.node_labels import KIND, MBIT_PER_S, PRICE_PER_HOUR, SPEED, price_per_hour, s_per_byte, speed

FILE = Path(__file__).parent.parent / "cluster.yaml"


@pytest.fixture(scope="module")
def config() -> Any:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_ray_accepts_it(config: Any) -> None:
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert any("apportion" in command for command in prepared["worker_setup_commands"])
    assert any("apportion" in command for command in prepared["head_setup_commands"])


def test_ray_would_refuse_a_key_that_is_not_its_own(config: Any) -> None:
    changed = copy.deepcopy(config)
    changed["available_node_types"]["cpu"]["price"] = 1
    with pytest.raises(Exception, match="price"):
        validate_config(prepare_config(changed))


def test_the_node_types_are_mixed(config: Any) -> None:
    types = config["available_node_types"]
    assert {"head", "cpu", "gpu", "high-memory", "spot"} <= types.keys()
    assert types["gpu"]["resources"]["GPU"] >= 1
    assert types["spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert sum(kind.get("min_workers", 0) for kind in types.values()) <= config["max_workers"]


def test_every_node_type_carries_the_hints(config: Any) -> None:
    for name, kind in config["available_node_types"].items():
        labels = kind["labels"]
        validate_node_labels(labels)
        assert labels.keys() == {KIND, PRICE_PER_HOUR, MBIT_PER_S, SPEED, "apportion.dev/market"}, name
        assert labels[KIND] == kind["node_config"]["InstanceType"]
        assert price_per_hour(name, labels) > 0 and s_per_byte(name, labels) > 0 and speed(name, labels) > 0
        assert labels["apportion.dev/market"] == (
            "spot" if "InstanceMarketOptions" in kind["node_config"] else "on-demand"
        )


def test_all_nodes_run_the_tested_ray_and_python(config: Any) -> None:
    kinds = config["available_node_types"].values()
    images = [config["docker"]["image"], *(k["docker"]["worker_image"] for k in kinds if "docker" in k)]
    assert all(image.startswith("rayproject/ray:2.60.0-py311") for image in images)

"""The manifests of deploy/k8s as kustomize builds them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.data import ROOT

FOLDER = ROOT / "deploy" / "k8s"

Manifest = dict[str, Any]


@functools.cache
def manifests() -> tuple[Manifest, ...]:
    """All of them. Nobody is asked for a cluster.

    Fails in CI where there is neither kubectl nor kustomize, and skips with its reason elsewhere.
    """
    if shutil.which("kubectl"):
        command = ["kubectl", "kustomize", str(FOLDER)]
    elif shutil.which("kustomize"):
        command = ["kustomize", "build", str(FOLDER)]
    else:
        reason = "manifests are built by kubectl or kustomize; install one"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return tuple(yaml.safe_load_all(ran.stdout))


def of_kind(kind: str) -> dict[str, Manifest]:
    """Those of one kind by name."""
    return {item["metadata"]["name"]: item for item in manifests() if item["kind"] == kind}


def the(kind: str, prefix: str) -> Manifest:
    """The only one of a kind whose name begins so: those that are generated end in a hash."""
    (found,) = (item for name, item in of_kind(kind).items() if name.startswith(prefix))
    return found


def pod_of(workload: Manifest) -> Manifest:
    """The pod that a Job, CronJob or StatefulSet makes, its template."""
    spec = workload["spec"]
    template: Manifest = spec.get("jobTemplate", {}).get("spec", spec)["template"]
    return template


def container_of(workload: Manifest) -> Manifest:
    """The one container of its pods."""
    (container,) = pod_of(workload)["spec"]["containers"]
    found: Manifest = container
    return found


def selects(selector: Manifest, workload: Manifest) -> bool:
    """Whether a selector of labels, which must not be empty, finds the pods of a workload."""
    wanted = selector["matchLabels"]
    return bool(wanted) and wanted.items() <= pod_of(workload)["metadata"]["labels"].items()

"""deploy/k8s: built by kustomize, valid against Kubernetes' schemas, and fitting the code."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from agents.cluster_options import PASSWORD
from agents.options import ConfigOptions
from stream.topics import AGENTS, INPUTS, LEARN, group_of
from tests.data import ROOT
from tests.deploy.commands import access_of, parse
from tests.deploy.composition import HTTP_PORT
from tests.deploy.manifests import Manifest, container_of, manifests, of_kind, pod_of, selects, the

VERSION = "1.34"
WEB, TRAINING = "web", "training"
SCALED = [agent for agent in AGENTS if agent != LEARN]
"""Learn folds all partitions in one worker."""


def check(manifest: Manifest) -> None:
    kubernetes_validate.validate(copy.deepcopy(manifest), VERSION, strict=True)


def test_every_manifest_fits_its_schema() -> None:
    unknown = set()
    for manifest in manifests():
        try:
            check(manifest)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(manifest["kind"])
    assert unknown == {"ScaledObject"}  # of KEDA


def test_a_misspelt_field_does_not_fit() -> None:
    manifest = copy.deepcopy(of_kind("StatefulSet")["perceive"])
    container_of(manifest)["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(manifest)


def test_there_is_one_stateful_set_an_agent() -> None:
    assert sorted(of_kind("StatefulSet")) == sorted(AGENTS)


@pytest.mark.parametrize("agent", AGENTS)
def test_a_worker_is_a_command_line_that_parses(agent: str) -> None:
    container = container_of(of_kind("StatefulSet")[agent])
    parsed = parse(container["args"])
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert parsed.name == "worker"
    assert parsed.values["agent"] == agent
    assert parsed.values["instance"] == "$(POD_NAME)"
    assert {"POD_NAME", PASSWORD} <= {variable["name"] for variable in container["env"]}
    assert parsed.values["partitions"] == partitions()
    assert str(parsed.values["folder"]) in mounts
    assert str(parsed.values["config"].parent) in mounts
    assert f"{parsed.values['config'].name}" in the("ConfigMap", "octastream")["data"]
    assert parsed.values["http"] == f"0.0.0.0:{HTTP_PORT}"
    assert container["ports"] == [{"name": "http", "containerPort": HTTP_PORT}]
    image = "octastream-learn" if agent == LEARN else "octastream-perceive"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container["image"] == f"{image}:{version}"


def partitions() -> Any:
    parsed = parse(container_of(of_kind("Job")["topics"])["args"])
    assert parsed.name == "topics create"
    return parsed.values["partitions"]


def test_topics_have_copies() -> None:
    assert parse(container_of(of_kind("Job")["topics"])["args"]).values["replication"] == 3


@pytest.mark.parametrize("agent", AGENTS)
def test_a_worker_is_asked_whether_it_lives_and_is_ready(agent: str) -> None:
    container = container_of(of_kind("StatefulSet")[agent])
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/health", "readiness": "/ready", "liveness": "/health"}


def workloads() -> dict[str, Manifest]:
    return {**of_kind("StatefulSet"), **of_kind("Deployment")}


@pytest.mark.parametrize("workload", [*AGENTS, WEB, "topics", TRAINING])
def test_a_pod_has_few_rights_and_bounded_resources(workload: str) -> None:
    found = {**workloads(), **of_kind("Job"), **of_kind("CronJob")}[workload]
    pod, container = pod_of(found)["spec"], container_of(found)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001  # of the image
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    for kind in ("requests", "limits"):
        assert container["resources"][kind].keys() == {"cpu", "memory"}


def test_every_agent_but_learn_is_scaled_on_its_lag_up_to_its_partitions() -> None:
    scaled = of_kind("ScaledObject")
    assert sorted(scaled) == sorted(SCALED)
    kafka = the("ConfigMap", "kafka")["data"]
    for agent, manifest in scaled.items():
        spec = manifest["spec"]
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": agent}
        assert 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] == partitions()
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "kafka"
        metadata = trigger["metadata"]
        assert metadata["consumerGroup"] == group_of(agent)
        assert metadata["topic"] in INPUTS[agent]
        assert metadata["bootstrapServersFromEnv"] in kafka
        assert metadata["allowIdleConsumers"] == "false"
        assert metadata["offsetResetPolicy"] == "earliest"  # as the workers themselves
        assert all(isinstance(value, str) for value in metadata.values())  # KEDA takes nothing else
        assert "replicas" not in of_kind("StatefulSet")[agent]["spec"], "would undo what KEDA did"
    assert of_kind("StatefulSet")[LEARN]["spec"]["replicas"] == 1


def test_drains_take_one_pod_of_an_agent_at_a_time() -> None:
    budgets = of_kind("PodDisruptionBudget")
    assert sorted(budgets) == sorted(SCALED)
    for agent, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1
        held = [
            name for name, item in of_kind("StatefulSet").items() if selects(budget["spec"]["selector"], item)
        ]
        assert held == [agent]


@pytest.mark.parametrize("agent", AGENTS)
def test_selectors_find_the_worker(agent: str) -> None:
    workload = of_kind("StatefulSet")[agent]
    assert selects(workload["spec"]["selector"], workload)
    assert workload["spec"]["serviceName"] in of_kind("Service")
    service = of_kind("Service")[workload["spec"]["serviceName"]]
    assert service["spec"]["clusterIP"] == "None"
    assert selects({"matchLabels": service["spec"]["selector"]}, workload)
    assert selects(of_kind("NetworkPolicy")["workers"]["spec"]["podSelector"], workload)


def test_what_serves_is_found_by_its_service_probed_and_guarded() -> None:
    workload = of_kind("Deployment")[WEB]
    container = container_of(workload)
    parsed = parse(container["args"])
    assert parsed.name == "serve"
    assert parsed.values["kafka"]
    assert (parsed.values["host"], parsed.values["port"]) == ("0.0.0.0", HTTP_PORT)
    assert container["ports"] == [{"name": "http", "containerPort": HTTP_PORT}]
    service = of_kind("Service")[WEB]["spec"]
    assert selects({"matchLabels": service["selector"]}, workload)
    assert service["ports"][0]["targetPort"] == "http"
    assert selects(of_kind("NetworkPolicy")[WEB]["spec"]["podSelector"], workload)
    assert not selects(of_kind("NetworkPolicy")["workers"]["spec"]["podSelector"], workload)
    worker = container_of(of_kind("StatefulSet")["archive"])
    assert container["image"] == worker["image"]
    own = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert own == {mount["mountPath"] for mount in worker["volumeMounts"]}
    assert str(parsed.values["folder"]) in own
    for name in ("startup", "readiness", "liveness"):
        assert container[f"{name}Probe"] == worker[f"{name}Probe"]


def test_what_serves_is_asked_by_its_service_and_its_address_and_by_no_page_of_a_stranger() -> None:
    container = container_of(of_kind("Deployment")[WEB])
    sources = {
        item["name"]: item["valueFrom"].get("fieldRef", {}).get("fieldPath") for item in container["env"]
    }
    assert (sources["POD_IP"], sources["POD_NAMESPACE"]) == ("status.podIP", "metadata.namespace")
    values = {"$(POD_IP)": "10.1.2.3", "$(POD_NAMESPACE)": "robots"}
    arguments = container["args"]
    for name, value in values.items():
        arguments = [item.replace(name, value) for item in arguments]
    access = access_of(arguments)
    for host in (f"10.1.2.3:{HTTP_PORT}", WEB, f"{WEB}.robots", f"{WEB}.robots.svc:80",
                 f"{WEB}.robots.svc.cluster.local", "localhost:8000"):  # fmt: skip
        assert access.refusal("POST", "/labels", {b"host": host.encode()}) is None, host
    page = {b"host": b"evil.example:8000", b"origin": b"http://evil.example:8000"}
    for method, path in (("POST", "/labels"), ("GET", "/map")):
        assert (access.refusal(method, path, page) or (0, ""))[0] == 421


def test_training_sets_grow_by_a_command_line_that_parses_one_at_a_time() -> None:
    workload = of_kind("CronJob")[TRAINING]
    container = container_of(workload)
    parsed = parse(container["args"])
    archive = container_of(of_kind("StatefulSet")["archive"])
    assert parsed.name == "dataset build"
    assert not parsed.values["runs"] and not parsed.values["from_run"]
    assert parsed.values["folder"] == parse(archive["args"]).values["folder"]
    assert parsed.values["out"].is_relative_to(parsed.values["folder"])
    assert parsed.values["config"] == parse(archive["args"]).values["config"]
    assert container["image"] == archive["image"]
    assert container["volumeMounts"] == archive["volumeMounts"]
    assert workload["spec"]["concurrencyPolicy"] == "Forbid"
    assert pod_of(workload)["spec"]["restartPolicy"] == "OnFailure"


def test_what_pods_refer_to_is_there_or_optional() -> None:
    for workload in [*workloads().values(), *of_kind("Job").values(), *of_kind("CronJob").values()]:
        container = container_of(workload)
        maps = [source["configMapRef"]["name"] for source in container.get("envFrom", [])]
        pod = pod_of(workload)["spec"]
        volumes = pod.get("volumes", [])
        maps += [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
        assert set(maps) <= set(of_kind("ConfigMap"))
        claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes
                  if "persistentVolumeClaim" in volume]  # fmt: skip
        assert set(claims) <= set(of_kind("PersistentVolumeClaim"))
        secrets = [item["valueFrom"]["secretKeyRef"] for item in container.get("env", [])
                   if "secretKeyRef" in item["valueFrom"]]  # fmt: skip
        assert all(secret["optional"] for secret in secrets)
        assert of_kind("Secret") == {}


def test_the_claim_can_be_mounted_by_all_workers() -> None:
    assert of_kind("PersistentVolumeClaim")["state"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_configuration_names_the_map_frame(tmp_path: Path) -> None:
    path = tmp_path / "octastream.yaml"
    path.write_text(the("ConfigMap", "octastream")["data"]["octastream.yaml"])
    assert ConfigOptions(config=path).load().grid.map_frame == "map"


def test_every_file_is_used() -> None:
    folder = ROOT / "deploy" / "k8s"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    used = {*kustomization["resources"], *(patch["path"] for patch in kustomization["patches"])}
    used |= {name for item in kustomization["configMapGenerator"] for name in item.get("files", [])}
    assert used | {"kustomization.yaml"} == {path.name for path in folder.iterdir()}

"""The examples for Slurm and Kubernetes: each is well formed, and the commands in it are ours."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main

from hpo_gn.cli import app
from hpo_gn.yaml12 import load_yaml

EXAMPLES = Path(__file__).parents[1] / "docs" / "cluster"
SLURM = EXAMPLES / "slurm.sh"
STORAGE = "postgresql://user:password@server/database"


def parse(command):
    """The options of a command `hpo-gn …`, as our own command line reads them."""
    name, subcommand, *arguments = command
    assert name == "hpo-gn"
    group = typer.main.get_command(app)
    return group.commands[subcommand].make_context(subcommand, arguments).params


@pytest.fixture(scope="module")
def manifests():
    documents = re.split(r"^---\n", (EXAMPLES / "kubernetes.yaml").read_text(), flags=re.MULTILINE)
    parsed = [load_yaml(document) for document in documents]
    return {(each["kind"], each["metadata"]["name"]): each for each in parsed}


def pod(manifest):
    return manifest["spec"]["template"]["spec"]


def jobs(manifests):
    return [manifests["Job", name] for name in ("hpo-gn-search", "hpo-gn-workers")]


def test_kubernetes_has_a_search_and_workers_that_join_it(manifests):
    search, workers = (parse(pod(job)["containers"][0]["command"]) for job in jobs(manifests))
    assert search["study"] == workers["study"] is not None
    assert workers["wait"] > 0
    assert manifests["Job", "hpo-gn-workers"]["spec"]["parallelism"] > 1
    assert "completions" not in manifests["Job", "hpo-gn-workers"]["spec"]  # each ends when all is done


def test_kubernetes_pods_come_back_and_may_finish_their_epoch(manifests):
    for job in jobs(manifests):
        assert pod(job)["restartPolicy"] == "OnFailure"
        assert job["spec"]["backoffLimit"] >= 1000
        assert pod(job)["terminationGracePeriodSeconds"] > 30  # Kubernetes' own default


def test_kubernetes_takes_the_storage_from_the_secret(manifests):
    [secret] = [each for (kind, _), each in manifests.items() if kind == "Secret"]
    text = (EXAMPLES / "kubernetes.yaml").read_text()
    assert text.count(secret["stringData"]["storage"]) == 1
    for job in jobs(manifests):
        environment = {each["name"]: each for each in pod(job)["containers"][0]["env"]}
        source = environment["HPO_GN_STORAGE"]["valueFrom"]["secretKeyRef"]
        assert source["name"] == secret["metadata"]["name"]
        assert source["key"] in secret["stringData"]


def test_kubernetes_pods_share_what_the_search_writes(manifests):
    search, workers = (pod(job) for job in jobs(manifests))
    assert search["volumes"] == workers["volumes"]
    [volume] = search["volumes"]
    claim = manifests["PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for each in (search, workers):
        [mount] = each["containers"][0]["volumeMounts"]
        assert mount == {"name": volume["name"], "mountPath": "/shared"}
        assert int(each["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) == 1
    assert parse(search["containers"][0]["command"])["output"].is_relative_to(mount["mountPath"])


STUB = """#!{python}
import json, signal, sys, time
from pathlib import Path

here = Path(__file__)
with here.with_suffix(".calls").open("a") as file:
    print(json.dumps([here.name, *sys.argv[1:]]), file=file)
if here.name == "hpo-gn" and "{end}" == "asked":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    here.with_suffix(".ready").touch()
    time.sleep(120)
    sys.exit(1)
sys.exit({end} if here.name == "hpo-gn" else 0)
"""


class Slurm:
    """Runs the script as Slurm would, with stubs that note how hpo-gn and scontrol are called."""

    def __init__(self, folder, *, end):
        self.folder = folder
        for name in ("hpo-gn", "scontrol"):
            (folder / name).write_text(STUB.format(python=sys.executable, end=repr(end).strip("'")))
            (folder / name).chmod(0o700)

    def start(self, task, **environment):
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        job = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "7", "PATH": path}
        return subprocess.Popen(
            ["bash", str(SLURM)], cwd=self.folder, env=job | environment, stderr=subprocess.PIPE, text=True
        )

    def run(self, task, **environment):
        process = self.start(task, **environment)
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr

    def calls(self, name):
        log = self.folder / f"{name}.calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def directives():
    return [line.removeprefix("#SBATCH ") for line in SLURM.read_text().splitlines() if "SBATCH" in line]


def test_slurm_directives_are_read():
    """Slurm stops reading them at the first command, and ignores what it cannot read."""
    lines = SLURM.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    last = max(number for number, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert last < first_command
    assert all(re.fullmatch(r"--[a-z-]+(=\S+)?", each) for each in directives())
    options = dict(each.partition("=")[::2] for each in directives())
    assert "--requeue" in options
    assert re.fullmatch(r"B:USR1@\d+", options["--signal"])
    assert re.fullmatch(r"0-[1-9]\d*", options["--array"])


def test_slurm_task_0_leads_and_the_others_join(tmp_path):
    slurm = Slurm(tmp_path, end=0)
    assert [slurm.run(task, HPO_GN_STORAGE=STORAGE) for task in (0, 1)] == [(0, ""), (0, "")]
    search, worker = slurm.calls("hpo-gn")
    assert (search[1], worker[1]) == ("search", "worker")
    assert parse(search)["study"] == parse(worker)["study"] is not None
    assert parse(worker)["wait"] > 0
    assert not any("postgresql" in word for word in search + worker)
    assert slurm.calls("scontrol") == []


def test_slurm_task_that_is_stopped_is_queued_again(tmp_path):
    slurm = Slurm(tmp_path, end="asked")
    process = slurm.start(3, HPO_GN_STORAGE=STORAGE)
    while not (tmp_path / "hpo-gn.ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)  # to the batch shell alone, as the directive says
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    assert slurm.calls("scontrol") == [["scontrol", "requeue", "7_3"]]


def test_slurm_task_that_fails_is_not_queued_again(tmp_path):
    slurm = Slurm(tmp_path, end=2)
    assert slurm.run(1, HPO_GN_STORAGE=STORAGE) == (2, "")
    assert slurm.calls("scontrol") == []


def test_slurm_asks_for_the_storage(tmp_path):
    code, stderr = Slurm(tmp_path, end=0).run(0)
    assert code != 0
    assert "HPO_GN_STORAGE: must be the URL of a PostgreSQL database" in stderr


def test_the_storage_s_variable_is_read():
    """The examples name it nowhere else."""
    context = typer.main.get_command(app).commands["worker"].make_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_GN_STORAGE", STORAGE)
        assert context("worker", []).params["storage"] == STORAGE

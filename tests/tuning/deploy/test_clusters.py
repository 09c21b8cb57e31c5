"""The guide's files for clusters: run where that is possible, checked where not."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from search_process import NETS, ROOT, rows_of, statuses
from slurm_cluster import SlurmCluster

from tuning.commands.search import search
from tuning.settings import SearchSettings

FOLDER = ROOT / "tuning" / "deploy"
GUIDE = (FOLDER / "README.md").read_text()
SCRIPT = FOLDER / "slurm.sh"
MANIFEST = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
CLAIM = yaml.safe_load(re.search(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[1])
CERTIFICATES = next(
    block
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    if "-CA" in block
)

# The fields that the manifest uses, as the resource definition of KubeRay 1.7.0 has
# them (v1.5.1 and v1.6.0 have the same): type, {field: what is below}, [what each item
# is], or {"*": what each value is}. Fields with ! must be there.
QUANTITIES = {"*": (str, int)}
POD = {
    "restartPolicy": str,
    "automountServiceAccountToken": bool,
    "securityContext": {
        "runAsNonRoot": bool,
        "runAsUser": int,
        "runAsGroup": int,
        "fsGroup": int,
        "seccompProfile": {"type!": str},
    },
    "containers!": [
        {
            "name!": str,
            "image": str,
            "securityContext": {
                "allowPrivilegeEscalation": bool,
                "capabilities": {"drop": [str]},
            },
            "resources": {"requests": QUANTITIES, "limits": QUANTITIES},
            "volumeMounts": [{"name!": str, "mountPath!": str}],
        }
    ],
    "volumes": [{"name!": str, "persistentVolumeClaim": {"claimName!": str}}],
}
RAY_JOB = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "entrypoint": str,
        "submissionMode": str,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": str},
            "headGroupSpec!": {
                "rayStartParams": {"*": str},
                "template!": {"spec": POD},
            },
            "workerGroupSpecs": [
                {
                    "groupName!": str,
                    "replicas": int,
                    "minReplicas!": int,
                    "maxReplicas!": int,
                    "rayStartParams": {"*": str},
                    "template!": {"spec": POD},
                }
            ],
        },
        "submitterPodTemplate": {"spec": POD},
    },
}


def differences(value, schema, path="rayjob"):
    """Return what a value has that its schema has not, and the other way round."""
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{path} must be a list; it is {value!r}"]
        pairs = [(item, schema[0], f"{path}[{n}]") for n, item in enumerate(value)]
    elif isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{path} must be a mapping; it is {value!r}"]
        fields = {name.rstrip("!"): below for name, below in schema.items()}
        missing = {n.rstrip("!") for n in schema if n.endswith("!")} - set(value)
        unknown = set() if "*" in fields else set(value) - set(fields)
        found = [f"{path} lacks {name}" for name in missing]
        found += [f"{path} has an unknown {name}" for name in unknown]
        if found:
            return found
        pairs = [
            (below, fields.get(name, fields.get("*")), f"{path}.{name}")
            for name, below in value.items()
        ]
    else:
        types = schema if isinstance(schema, tuple) else (schema,)
        return [] if type(value) in types else [f"{path} must be {schema}: {value!r}"]
    return [line for pair in pairs for line in differences(*pair)]


def search_options(command):
    """Return the settings of a search's command line, by the command's own parser."""
    words = shlex.split(command)
    options = words[words.index("search") + 1 :]
    return SearchSettings(**search.make_context("search", options).params)


def test_manifest_is_a_ray_job():
    """Every field of the manifest is one that KubeRay has, of the type that it has."""
    assert (MANIFEST["apiVersion"], MANIFEST["kind"]) == ("ray.io/v1", "RayJob")
    assert differences(MANIFEST, RAY_JOB) == []
    # Else KubeRay's names for what it makes are cut off.
    assert re.fullmatch(
        r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", MANIFEST["metadata"]["name"]
    )
    assert MANIFEST["spec"]["submissionMode"] in ("K8sJobMode", "HTTPMode")


def test_manifest_runs_a_search_on_the_cluster_that_it_makes():
    """Its command is one of this package, and its workers have what trials ask for."""
    spec = MANIFEST["spec"]
    command = spec["entrypoint"]
    assert not set(command) & set("$;&|<>()`\\\"'*?#~\n")
    assert command.startswith("python -m tuning search ")
    settings = search_options(command)
    assert settings.address == "auto"
    cluster = spec["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (worker,) = group["template"]["spec"]["containers"]
    limits = worker["resources"]["limits"]
    assert int(limits["cpu"]) % settings.cpus_per_trial == 0
    assert limits["nvidia.com/gpu"] % settings.gpus_per_trial == 0
    assert worker["resources"]["requests"] == limits
    # The head runs no trials, but the search itself, and so sees what the workers see.
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    (first,) = head["template"]["spec"]["containers"]
    assert first["volumeMounts"] == worker["volumeMounts"]
    assert head["template"]["spec"]["volumes"] == group["template"]["spec"]["volumes"]
    (mount,) = worker["volumeMounts"]
    for path in (settings.data, settings.directory):
        assert path.startswith(mount["mountPath"] + "/")
    (volume,) = group["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteMany"]


def test_manifest_is_secure_by_default():
    """Ray asks for a token; no pod has more rights than it needs."""
    cluster = MANIFEST["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    # With a token, KubeRay demands a version, and Ray knows tokens since 2.52.
    assert cluster["rayVersion"] == version("ray")
    templates = [
        MANIFEST["spec"]["submitterPodTemplate"],
        cluster["headGroupSpec"]["template"],
        *(group["template"] for group in cluster["workerGroupSpecs"]),
    ]
    images = set()
    for pod in (template["spec"] for template in templates):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        images.add(container["image"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    assert len(images) == 1


@pytest.mark.parametrize("file", ["README.md", "slurm.sh"])
def test_options_in_the_guide_exist(file):
    """Each command of the guide is one that the search's parser takes."""
    text = (FOLDER / file).read_text().replace("\\\n", " ")
    commands = re.findall(
        r"^(?:# +)?(sbatch .*slurm\.sh.*|.*-m tuning .*)$", text, re.M
    )
    assert commands
    for command in commands:
        own = command.partition("slurm.sh")[2] or command.partition(" search ")[2]
        own = own.replace('"$address"', "10.0.0.1:6379").replace('"$@"', "")
        assert search_options(f"search {own}")


def test_files_are_installed():
    """The guide comes with the package."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.package_data"]["tuning"].split(",")
    installed = {file for p in patterns for file in (ROOT / "tuning").glob(p.strip())}
    assert set(FOLDER.iterdir()) <= installed


def test_markers_are_not_in_the_default_run():
    """What needs a Slurm runs when it is asked for."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    assert "not slurm" in options["ini_options"]["addopts"]


# When a trial has ended, the next one stays at its first batch until it may go on.
GATED = """
import time
from pathlib import Path
import keras
import nets

@keras.saving.register_keras_serializable(package="gated")
class Gated(nets.Slow):
    def train_step(self, data):
        folder = Path({folder!r})
        while not (folder / "go").exists() and any(
            "COMPLETED" in file.read_text() for file in folder.glob("s/*/trial.json")
        ):
            time.sleep(0.1)
        return super().train_step(data)
"""
# What a driver sees of a Ray.
CLIENT = """
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
    print("joined", len([node for node in ray.nodes() if node["Alive"]]))
except ConnectionError:
    print("refused")
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A Slurm of three nodes."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(ROOT),
    }
    cluster = SlurmCluster(tmp_path_factory.mktemp("slurm"), environment)
    with cluster.running():
        yield cluster


@pytest.fixture
def secured(tmp_path):
    """Certificates made by the guide's commands, as variables of the environment."""
    commands, count = re.subn(
        r"^nodes=.*$",
        f"nodes={','.join(f'IP:10.77.0.{number}' for number in (1, 2, 3))}",
        CERTIFICATES,
        flags=re.M,
    )
    assert count == 1
    done = subprocess.run(
        ["bash", "-euc", f"{commands}\nexport -p"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(re.findall(r'^declare -x (RAY_\w+)="(.*)"$', done.stdout, re.M))
    assert stat.S_IMODE(Path(found["RAY_TLS_SERVER_KEY"]).stat().st_mode) == 0o600
    return found


@pytest.mark.slurm
def test_search_on_three_nodes_is_secure_and_outlives_its_time(
    slurm, secured, tmp_path
):
    """One script runs a search on three nodes, for those with token and certificate.

    Shortly before the job's time is up the search stops; the job is requeued, and the
    search goes on.
    """
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "gated.py").write_text(GATED.format(folder=str(tmp_path)))
    slurm.environment.update(secured, PYTHONPATH=f"{ROOT}:{tmp_path}")
    output = tmp_path / "out.txt"
    sbatch = ("sbatch", "--parsable", "--cpus-per-task=1", "--gpus-per-node=1")
    job = slurm.run(
        *(*sbatch, "--nodes=3", f"--output={output}", SCRIPT),
        *("--trials", 4, "--epochs", 1, "--workers", 2),
        *("--model", "gated:Gated", "--directory", "s"),
        cwd=tmp_path,
    )

    def log():
        return output.read_text() if output.exists() else ""

    def wait_for(condition):
        slurm.wait_for(condition, 300, lambda: slurm.run("squeue", "--noheader"))

    def ended():
        trials = statuses(tmp_path) if (tmp_path / "s").exists() else {}
        return [name for name, status in trials.items() if status == "COMPLETED"]

    try:
        wait_for(lambda: "room for 3 worker(s)" in log())
        assert "3 of 3 node(s) joined" in log()

        (token_file,) = tmp_path.glob(".ray-token-*")
        assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
        token = token_file.read_text().strip()
        assert re.fullmatch("[0-9a-f]{64}", token)
        commands = slurm.run("ps", "-eo", "args")
        assert token not in commands
        raylets = re.findall(r"--static_resource_list=\S+", commands)
        assert len(raylets) == 3
        assert all("CPU,1" in line and "GPU,1" in line for line in raylets)

        address = re.search(r"at (10\.77\.0\.1:\d+)", log())[1]
        variables = {
            "RAY_NUM_REDIS_GET_RETRIES": "1",  # Else Ray tries for twenty seconds.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file),
        }

        def client(**changes):
            env = {**variables, **changes}
            words = ["env", *(f"{name}={value}" for name, value in env.items())]
            printed = slurm.run(*words, "python", "-c", CLIENT, address)
            return printed.splitlines()[-1]

        assert client() == "joined 3"
        assert client(RAY_AUTH_MODE="disabled") == "refused"
        assert client(RAY_USE_TLS="0") == "refused"

        wait_for(ended)
        slurm.run("scancel", "--signal=USR1", "--batch", job)
        wait_for(lambda: "the same command resumes" in log())
        (tmp_path / "go").touch()
        wait_for(lambda: "Best: trial" in log())
        slurm.wait_for(lambda: not slurm.run("squeue", "--noheader"))
    except BaseException:
        print(log())
        raise
    text = log()
    assert text.count("3 of 3 node(s) joined") == 2
    assert token not in text
    assert "JobState=COMPLETED" in slurm.run("scontrol", "show", "job", job)
    assert [row["status"] for row in rows_of(tmp_path)] == ["COMPLETED"] * 4
    assert not list(tmp_path.glob(".ray-token-*"))
    assert "raylet" not in slurm.run("ps", "-eo", "args")

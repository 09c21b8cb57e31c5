"""A Slurm of three nodes on one machine, which nothing outside can reach.

Each node has a network of its own with an address of its own, joined by a bridge
without a way out.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import time
from pathlib import Path

CONFIGURATION = """
ClusterName=test
SlurmctldHost=n1(10.77.0.1)
SlurmUser=root
AuthType=auth/munge
# A job that is requeued starts when its credential has expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=20
SchedulerParameters=batch_sched_delay=0,sched_interval=1
GresTypes=gpu
NodeName=n1 NodeAddr=10.77.0.1 CPUs=2 Gres=gpu:1
NodeName=n2 NodeAddr=10.77.0.2 CPUs=2 Gres=gpu:1
NodeName=n3 NodeAddr=10.77.0.3 CPUs=2 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES
"""
# Run in namespaces that end with the process: of network, mounts, names and processes.
BOOT = """
set -euo pipefail
mount --bind hosts /etc/hosts
hostname n1
ip link set lo up
ip link add name bridge address 02:00:00:00:00:01 type bridge
ip link set bridge up
ip address add 10.77.0.1/24 dev bridge
munged --force --key-file=munge.key --socket="$PWD/munge.socket" \
    --pid-file="$PWD/munged.pid" --log-file="$PWD/munged.log" \
    --seed-file="$PWD/munge.seed"
export SLURM_CONF=$PWD/slurm.conf
slurmctld -L "$PWD/slurmctld.log"
mkdir -p n1 n2 n3 /run/netns
mount -t tmpfs tmpfs /run/netns
slurmd -D -N n1 -L "$PWD/n1.log" &
for number in 2 3; do
    node=n$number
    ip netns add "$node"
    ip link add name "$node" master bridge up type veth peer name eth0 netns "$node"
    ip -n "$node" address add "10.77.0.$number/24" dev eth0
    ip -n "$node" link set eth0 up
    ip -n "$node" link set lo up
    nsenter --net="/run/netns/$node" unshare --uts bash -c \
        'hostname "$0" && exec slurmd -D -N "$0" -L "$PWD/$0.log"' "$node" &
done
while true; do sleep 3600; done  # A shell, which reaps orphans.
"""


class SlurmCluster:
    """What the tests ask of Slurm.

    Args:
        folder: For its files.
        environment: Of the jobs.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {**environment, "SLURM_CONF": str(folder / "slurm.conf")}

    @contextlib.contextmanager
    def running(self):
        """Start it; end all of its processes at the end."""
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(folder=self.folder)
        )
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        # None is used; the other plugin wants systemd.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        names = "".join(f"10.77.0.{number} n{number}\n" for number in (1, 2, 3))
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        with (self.folder / "boot.log").open("w") as log:
            boot = subprocess.Popen(
                [
                    *("unshare", "--net", "--mount", "--uts", "--pid", "--fork"),
                    *("--mount-proc", "--kill-child", "bash", "-c", BOOT),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        try:
            child = Path(f"/proc/{boot.pid}/task/{boot.pid}/children")
            self.inside = self.wait_for(
                lambda: child.read_text().split(), while_=lambda: boot.poll() is None
            )[0]
            self.wait_for(lambda: self.run("sinfo", "-h", "-o", "%T %D") == "idle 3")
            yield self
        except BaseException:
            print((self.folder / "boot.log").read_text())
            raise
        finally:
            boot.kill()
            boot.wait()

    def run(self, *command, cwd=None):
        """Return what a command on the first node prints."""
        done = subprocess.run(
            [
                *("nsenter", f"--target={self.inside}", "--all", f"--wd={cwd or '/'}"),
                *map(str, command),
            ],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout.strip()

    def wait_for(self, condition, timeout=60, while_=lambda: True):
        """Wait until a condition holds, while another does; return its value."""
        end = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < end, "it did not come to pass"
            assert while_(), "it will not come to pass"
            time.sleep(0.2)
        return value

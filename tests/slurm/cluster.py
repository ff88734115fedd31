"""A real Slurm on this machine: munged, slurmctld and slurmd in a folder of their own.

Nothing outside that folder is written, ports are free ones, and the daemons end with the block.
Two nodes on this machine pretend to have a GPU and four cores each. Jobs of the partition `urgent`
pre-empt those of `gpu`, which Slurm then requeues: without a grace time it does so even if a job
ends by itself in time. A job that is asked to end has two minutes, however busy the machine.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
INSTALL = f"apt-get install --no-install-recommends {' '.join(PACKAGES)}"

# Where Debian puts daemons, which is not on every PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MinJobAge=3600
KillWait=120
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]} {node}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {node}
PartitionName=cpu Nodes=node[1-2] Default=YES MaxTime=2-0 State=UP PreemptMode=OFF
PartitionName=gpu Nodes=node[1-2] MaxTime=2-0 PriorityTier=1 State=UP
PartitionName=urgent Nodes=node[1-2] MaxTime=1-0 PriorityTier=9 PreemptMode=OFF State=UP
"""


_NODES = ("node1", "node2")
_NODE = "CPUs=4 RealMemory=100000 Gres=gpu:1"


class NoSlurmError(Exception):
    """Slurm cannot run here, and why."""


@dataclass(frozen=True)
class Cluster:
    """A running Slurm; `environment` lets its commands find it."""

    environment: dict[str, str]

    def jobs(self) -> list[dict[str, str]]:
        """Return all jobs, ended ones too, by number."""
        fields = {"id": "%i", "rule": "%k", "partition": "%P", "state": "%T", "cpus": "%C",
                  "memory": "%m", "limit": "%l", "nodes": "%D"}  # fmt: skip
        text = self.run("squeue", "--noheader", "--states=all", "-o", "|".join(fields.values()))
        found = [dict(zip(fields, line.split("|"), strict=True)) for line in text.splitlines()]
        for job in found:  # the plugin's remark is rule_NAME_wildcards_VALUES
            job["rule"] = job["rule"].split("_wildcards_")[0]
        return sorted(found, key=lambda job: int(job["id"]))

    def gpus(self, job: str) -> int:
        """Return how many GPUs a job was given."""
        shown = self.run("scontrol", "show", "job", "--oneliner", job)
        found = re.search(r"TresPerJob=[a-z]+:gpu:(\d+)", shown)
        return int(found[1]) if found else 0

    def preempt(self) -> str:
        """Submit a job that needs both nodes with their GPUs, and return its number."""
        asked = ("--partition=urgent", "--nodes=2", "--gpus-per-node=1", "--exclusive")
        command = ("sbatch", "--parsable", "--output=/dev/null", *asked, "--wrap", "sleep 1")
        return self.run(*command).strip()

    def end_wall_time(self, job: str) -> None:
        """Let the wall time of a running job be over."""
        self.run("scontrol", "update", f"jobid={job}", "timelimit=0:00:01")

    def state(self, job: str) -> str:
        """Return the state of a job."""
        return self.run("squeue", "--noheader", "--states=all", "-o", "%T", "-j", job).strip()

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout


def find_programs() -> None:
    """Install Slurm's packages where they are missing and this is root on Debian.

    Raises:
        NoSlurmError: they are missing, with the command that installs them.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoSlurmError(f"{', '.join(missing)} not found: '{INSTALL}' brings them")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ("apt-get update", f"{INSTALL} --yes"):
        try:
            done = subprocess.run(
                command.split(), env=environment, capture_output=True, text=True, timeout=180,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NoSlurmError(f"'{command}' took longer than 180 s") from error
        if done.returncode:
            raise NoSlurmError(f"'{command}' failed: {done.stderr.strip()[-200:]}")


@contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """Start Slurm with its state in `folder`; stop it at the end, jobs and all.

    Raises:
        NoSlurmError: it does not start here; the message says which daemon, and what it logged.
    """
    if os.geteuid() != 0:
        raise NoSlurmError("Slurm's daemons need root")
    host = socket.gethostname().split(".")[0]
    for name in ("controller", *_NODES):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    controller_port, *ports = (_free_port() for _ in range(3))
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(
            folder=folder, host=host, node=_NODE, controller_port=controller_port, ports=ports
        )
    )
    devices = zip(_NODES, ("/dev/null", "/dev/zero"), strict=True)
    (folder / "gres.conf").write_text(
        "".join(f"NodeName={node} Name=gpu File={device}\n" for node, device in devices)
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    path = f"{_wrap_srun(folder / 'bin', conf)}{os.pathsep}{_PATH}"
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(conf)}
    daemons = {
        "munged": ["--foreground", "--force", f"--socket={folder}/munge.socket",
                   f"--key-file={key}", f"--pid-file={folder}/munged.pid",
                   f"--seed-file={folder}/munged.seed"],
        "slurmctld": ["-D", "-f", str(conf)],
        **{f"slurmd {node}": ["-D", "-f", str(conf), "-N", node] for node in _NODES},
    }  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []
    cluster = Cluster(environment)
    try:
        for name, options in daemons.items():
            with (folder / f"{name}.out").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        [name.split()[0], *options],
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
            time.sleep(1)
        _wait_for_node(cluster, folder)
        yield cluster
    finally:
        with suppress(subprocess.SubprocessError):
            cluster.run("scancel", "--user=root")
            time.sleep(1)
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in running:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
        _kill_jobs(conf)


def _kill_jobs(conf: Path) -> None:
    """Kill what a failed test has left behind: processes with this configuration."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if f"SLURM_CONF={conf}\0".encode() in (process / "environ").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def _wrap_srun(folder: Path, conf: Path) -> Path:
    """Return a folder with an `srun` that knows the configuration.

    Snakemake's plugin takes SLURM_CONF out of the environment of the steps it starts, since on a
    real cluster the file lies in /etc, which is not ours here.
    """
    folder.mkdir()
    wrapper = folder / "srun"
    real = shutil.which("srun", path=_PATH)
    wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {real} "$@"\n')
    wrapper.chmod(0o755)
    return folder


def _wait_for_node(cluster: Cluster, folder: Path) -> None:
    for _ in range(30):
        with suppress(subprocess.SubprocessError):
            if cluster.run("sinfo", "--noheader", "-p", "gpu", "-o", "%D %t").strip() == "2 idle":
                return
        time.sleep(1)
    logs = [*folder.glob("*.log"), *folder.glob("*.out")]
    ends = [f"{log.name}: {log.read_text()[-300:]}" for log in sorted(logs)]
    raise NoSlurmError("the nodes did not come up:\n" + "\n".join(ends))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

"""Clusters of this machine: two workers each, all of it on loopback."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from benchmarks.engines.jars import ROOT, classes_of, job_server

HOST = "127.0.0.1"
COME_UP_S = 90
OPENED = ("lang", "lang.reflect", "net", "nio", "text", "time", "util", "util.concurrent")
JAVA = [f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENED]
JAVA += ["--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"]
FLINK = {
    "jobmanager.rpc.address": HOST,
    "jobmanager.bind-host": HOST,
    "jobmanager.memory.process.size": "1000m",
    "rest.address": HOST,
    "rest.bind-address": HOST,
    "taskmanager.host": HOST,
    "taskmanager.bind-host": HOST,
    "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.cpu.cores": "2.0",
    "taskmanager.memory.task.heap.size": "400m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.network.min": "400m",
    "taskmanager.memory.network.max": "400m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "128m",
    "taskmanager.memory.jvm-overhead.max": "128m",
    "cluster.evenly-spread-out-slots": "true",
    "classloader.resolve-order": "parent-first",  # a job brings what is here already
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "3",
    "restart-strategy.fixed-delay.delay": "1 s",
    "heartbeat.interval": "3000",
    "heartbeat.timeout": "15000",
}


class Cluster:
    """Processes of an engine, and of a pool of our workers; a context manager.

    Args:
        folder: Where they write.
    """

    engine = ""

    def __init__(self, folder: Path):
        self.folder = folder
        self.jars = classes_of(self.engine)
        self._started: list[subprocess.Popen] = []
        folder.mkdir(parents=True)

    def __enter__(self) -> "Cluster":
        try:
            pool = self._python("steadyrank.pipeline.preprocess.worker_pool", "--port", "0")
            self.pool = _said(pool, r"started at (\S+)")
            self.workers = self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for process in reversed(self._started):
            process.terminate()
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self) -> list[subprocess.Popen]:
        """Start the engine; its two workers."""
        raise NotImplementedError

    def own_flags(self) -> list[str]:
        """What says to Beam where the engine is."""
        raise NotImplementedError

    def flags(self) -> list[str]:
        """Beam's flags of a job on this cluster."""
        external = ["--environment_type=EXTERNAL", f"--environment_config={self.pool}"]
        return [*self.own_flags(), *external, "--environment_cache_millis=600000"]

    def _python(self, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", *words]
        return self._run("pool", command, cwd=ROOT)

    def _java(self, name: str, main: str, *words: str, memory: str, **env: str):
        command = ["java", *JAVA, *memory.split(), "-cp", f"{self.jars}/*", main, *words]
        return self._run(name, command, env=os.environ | env)

    def _run(self, name: str, command: list[str], **how) -> subprocess.Popen:
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **how)
        process.log = Path(log.name)
        self._started.append(process)
        return process


class Flink(Cluster):
    """A session cluster: a job manager and two task managers, two slots each."""

    engine = "flink"

    def start(self) -> list[subprocess.Popen]:
        rest, rpc = free_port(), free_port()
        self.address = f"{HOST}:{rest}"
        own = FLINK | {"rest.port": f"{rest}", "jobmanager.rpc.port": f"{rpc}"}
        own["io.tmp.dirs"] = str(self.folder)
        lines = [f"{key}: {value}\n" for key, value in own.items()]
        (self.folder / "flink-conf.yaml").write_text("".join(lines), encoding="utf-8")
        where, package = ["--configDir", str(self.folder)], "org.apache.flink.runtime"
        main = f"{package}.entrypoint.StandaloneSessionClusterEntrypoint"
        first = self._java("job-manager", main, *where, memory="-Xmx600m")
        until(lambda: self._seen() == 0, first)
        main = f"{package}.taskexecutor.TaskManagerRunner"
        memory = "-Xmx528m -XX:MaxDirectMemorySize=900m"
        found = [
            self._java(f"task-manager-{number}", main, *where, memory=memory)
            for number in range(2)
        ]
        until(lambda: self._seen() == 2, *found)
        return found

    def _seen(self) -> int | None:
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{self.address}/taskmanagers", timeout=5) as answer:
                return answer.read().count(b'"freeSlots"')
        except OSError:
            return None

    def own_flags(self) -> list[str]:
        main = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        jar = job_server(self.jars, main, self.folder / "job-server.jar")
        flags = ["--runner=FlinkRunner", f"--flink_master={self.address}"]
        return [*flags, f"--flink_job_server_jar={jar}", "--parallelism=2"]


class Spark(Cluster):
    """A standalone cluster: a master, and two workers of which each has an executor."""

    engine = "spark"

    def start(self) -> list[subprocess.Popen]:
        home, port = self.folder / "home", free_port()
        home.mkdir()
        (home / "jars").symlink_to(self.jars)
        os.environ["SPARK_LOCAL_IP"] = HOST  # of what the job starts, too
        env = {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.12"}
        self.master, package = f"spark://{HOST}:{port}", "org.apache.spark.deploy"
        words = ["--host", HOST, "--port", f"{port}", "--webui-port", f"{free_port()}"]
        first = self._java(
            "master", f"{package}.master.Master", *words, memory="-Xmx300m", **env
        )
        until(lambda: "Starting Spark master" in first.log.read_text(), first)
        words = ["--host", HOST, "--cores", "1", "--memory", "1g"]
        found = [
            self._java(
                f"worker-{number}",
                f"{package}.worker.Worker",
                *words,
                *("--webui-port", f"{free_port()}"),
                *("--work-dir", str(self.folder / f"work-{number}"), self.master),
                memory="-Xmx300m",
                **env,
            )
            for number in range(2)
        ]
        registered = "Successfully registered with master"
        until(lambda: all(registered in each.log.read_text() for each in found), *found)
        return found

    def own_flags(self) -> list[str]:
        main = "org.apache.beam.runners.spark.SparkJobServerDriver"
        jar = job_server(self.jars, main, self.folder / "job-server.jar")
        flags = ["--runner=SparkRunner", f"--spark_master_url={self.master}"]
        return [*flags, f"--spark_job_server_jar={jar}"]


CLUSTERS = {"flink": Flink, "spark": Spark}


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server((HOST, 0)) as server:
        return server.getsockname()[1]


def until(met: Callable[[], bool], *processes: subprocess.Popen) -> None:
    """Wait for what must come to pass while processes live.

    Raises:
        RuntimeError: One of them ended, or it took too long.
    """
    end = time.monotonic() + COME_UP_S
    while not met():
        for process in processes:
            if process.poll() is not None:
                last = process.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"ended with {process.returncode}: {last}")
        if time.monotonic() > end:
            raise RuntimeError(f"not up after {COME_UP_S} s: {processes[0].log}")
        time.sleep(0.5)


def _said(process: subprocess.Popen, pattern: str) -> str:
    """What a process says of itself, once it has."""
    until(lambda: re.search(pattern, process.log.read_text()), process)
    return re.search(pattern, process.log.read_text())[1]

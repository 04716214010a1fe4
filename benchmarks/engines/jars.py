"""What the engines are made of, from Maven Central: their classes, and Beam's job servers.

Beam publishes a job server as one large jar (``beam-runners-flink-1.19-job-server``); the
same classes are had here one by one, so that the cluster is of the same files.
"""

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FETCH_S = 900
LINE = 70  # bytes of a manifest's line


class NotAtHand(Exception):
    """What is missing to run engines here."""


def classes_of(engine: str) -> Path:
    """The folder of an engine's jars, fetched where it is not there.

    Args:
        engine: ``"flink"`` or ``"spark"``.

    Raises:
        NotAtHand: There is no Java, no Maven, or what they need cannot be fetched.
    """
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            raise NotAtHand(f"there is no {tool}")
    folder = ROOT / "build" / "engines" / engine / "jars"
    whole, pom = folder / "whole", HERE / f"{engine}.xml"
    if whole.exists() and whole.read_bytes() == pom.read_bytes():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S)
    except subprocess.TimeoutExpired:
        raise NotAtHand(f"Maven took over {FETCH_S} s to fetch {engine}") from None
    if done.returncode:
        said = re.findall(r"\[ERROR\] (.+)", done.stdout)[:1] or ["Maven failed"]
        raise NotAtHand(f"{engine} cannot be fetched: {said[0][:300]}")
    whole.write_bytes(pom.read_bytes())
    return folder


def versions(engine: str) -> dict[str, str]:
    """What the engine's file of versions says."""
    text = (HERE / f"{engine}.xml").read_text(encoding="utf-8")
    properties = re.search(r"<properties>(.*)</properties>", text, re.DOTALL)
    return dict(re.findall(r"<([\w.]+)>([^<]+)</", properties[1] if properties else ""))


def job_server(jars: Path, main: str, path: Path) -> Path:
    """Write a jar that starts a class of others, as ``java -jar`` wants it."""
    names = sorted(jar.as_uri() for jar in jars.glob("*.jar"))
    text = f"Class-Path: {' '.join(names)}"
    lines = [text[:LINE]]
    lines += [f" {text[at : at + LINE - 1]}" for at in range(LINE, len(text), LINE - 1)]
    head = ["Manifest-Version: 1.0", f"Main-Class: {main}", *lines, "", ""]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("META-INF/MANIFEST.MF", "\r\n".join(head))
    return path

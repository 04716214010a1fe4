"""Runs a Dockerfile's steps in order without a Docker engine, in clean Debian roots.

    debootstrap --variant=minbase bookworm BASE
    python3 docker/run_steps.py --base BASE --root ROOT [--also FILE:PATH ...] -- ARGS

Needs root, chroot and unshare. Each FROM is a copy of BASE, each RUN a shell in it, as the
user and with the environment that the Dockerfile has set by then. At the end the entry
point runs in the last root with ARGS, and its exit status is this script's. ``--also``
copies a file of this machine (a package registry's settings or certificates) to a path of
each root; it is no part of the image.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

CONTEXT = Path(__file__).resolve().parent.parent
KNOWN = ("ARG", "FROM", "RUN", "COPY", "WORKDIR", "ENV", "USER", "ENTRYPOINT", "CMD")


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and argument of each instruction; comments go, continued lines are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    unknown = [name for name, _ in found if name not in KNOWN]
    if unknown:
        raise SystemExit(f"these instructions are not understood: {unknown}")
    return [(name, argument) for name, argument in found]


class Steps:
    """The state of a build: roots by stage, and what the instructions have set."""

    def __init__(self, base: Path, roots: Path, also: list[str], arguments: dict):
        self.base, self.roots, self.also = base, roots, also
        self.given, self.stages = arguments, {}
        self.command, self.entry = [], []

    def from_(self, argument: str) -> None:
        image, *name = re.split(r"\s+AS\s+", argument)
        name = name[0] if name else str(len(self.stages))
        self.root = self.stages[name] = self.roots / name
        print(f"--- {image}: a copy of {self.base}", flush=True)
        subprocess.run(["cp", "-a", self.base, self.root], check=True)
        for pair in self.also:
            source, _, target = pair.partition(":")
            place = self.root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
        self.folder, self.user, self.arguments = "/", "0:0", {}
        self.environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def arg(self, argument: str) -> None:
        name, _, default = argument.partition("=")
        self.arguments[name] = self.given.get(name, default)

    def env(self, argument: str) -> None:
        for pair in shlex.split(argument):
            name, _, value = pair.partition("=")
            expanded = value.replace("$PATH", self.environment["PATH"])
            self.environment[name] = expanded

    def run(self, argument: str) -> None:
        self.inside(["/bin/sh", "-c", argument], check=True)

    def workdir(self, argument: str) -> None:
        self.folder = argument
        (self.root / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def copy(self, argument: str) -> None:
        *sources, target = argument.split()
        origin = CONTEXT
        if sources[0].startswith("--from="):
            origin = self.stages[sources.pop(0).removeprefix("--from=")]
        place = self.root / os.path.join(self.folder, target).lstrip("/")
        for source in sources:
            path = origin / source.lstrip("/")
            to = place / path.name if target.endswith("/") else place
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy(path, to)

    def user_(self, argument: str) -> None:
        self.user = argument

    def entrypoint(self, argument: str) -> None:
        self.entry = json.loads(argument)

    def cmd(self, argument: str) -> None:
        self.command = json.loads(argument)

    def inside(self, command: list[str], check: bool = False) -> int:
        """Run a command in the root, as the user and where the Dockerfile says."""
        settings = {**self.arguments, **self.environment}
        # its own /proc, as a container has, which goes with the command
        outer = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={self.root}/proc"]
        outer += ["chroot", f"--userspec={self.user}", str(self.root), "/usr/bin/env", "-i"]
        outer += [f"--chdir={self.folder}", *(f"{k}={v}" for k, v in settings.items())]
        return subprocess.run([*outer, *command], check=check).returncode


def main() -> int:
    """Parse, build, run the entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--also", action="append", default=[])
    parser.add_argument("--build-arg", action="append", default=[])
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    given = dict(pair.split("=", 1) for pair in options.build_arg)
    steps = Steps(options.base, options.root, options.also, given)
    methods = {"FROM": steps.from_, "USER": steps.user_}
    options.root.mkdir(parents=True)
    dockerfile = (CONTEXT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    for name, argument in instructions(dockerfile):
        print(f">>> {name} {argument}", flush=True)
        (methods.get(name) or getattr(steps, name.lower()))(argument)
    print(f">>> {steps.entry} {options.arguments or steps.command}", flush=True)
    return steps.inside([*steps.entry, *(options.arguments or steps.command)])


if __name__ == "__main__":
    sys.exit(main())

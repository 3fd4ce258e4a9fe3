"""The same provisioning for pyinfra: run as `pyinfra INVENTORY provision.py --data files=DIR`."""

from __future__ import annotations

from pathlib import Path

from pyinfra import host
from pyinfra.operations import apt, files, server

stack = "/srv/runnerkit/main"
rendered = Path(host.data.files)

apt.packages(name="Docker", packages=["docker.io", "docker-cli", "docker-compose"])
server.service(name="Docker runs", service="docker", running=True)
files.directory(name="The stack's directory", path=stack, user="root", group="root", mode="750")
for path in sorted(rendered.iterdir()):
    files.put(
        name=path.name,
        src=str(path),
        dest=f"{stack}/{path.name}",
        user="root",
        group="root",
        mode=f"{path.stat().st_mode & 0o777:o}",
    )
server.shell(name="The services run", commands=[f"cd {stack} && docker compose up -d"])

"""What the lab is made of: the layers of its hosts and of its images."""

from __future__ import annotations

from pathlib import Path

from tests.lab.rootfs import SCRIPTS, Recipe

DRONE = Path(__file__).parent / "drone"

BASE_PACKAGES = ("ca-certificates",)
BOOKWORM = Recipe("bookworm", suite="bookworm", packages=BASE_PACKAGES)
TRIXIE = Recipe("trixie", suite="trixie", packages=BASE_PACKAGES)
FORKY = Recipe("forky", suite="forky", packages=BASE_PACKAGES)

# --- hosts ----------------------------------------------------------------------------------------

# udev, sysctl and modules would reach through to the machine; the others are only slow.
MASKED_UNITS = (
    "systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket"
    " systemd-udev-trigger.service systemd-sysctl.service systemd-modules-load.service"
    " systemd-logind.service systemd-remount-fs.service systemd-pstore.service"
    " dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount dev-mqueue.mount"
    " sys-fs-fuse-connections.mount sys-kernel-config.mount systemd-binfmt.service"
    " proc-sys-fs-binfmt_misc.automount getty@tty1.service getty.target console-getty.service"
    " apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer"
    " e2scrub_all.timer e2scrub_reap.service systemd-hostnamed.service"
)
PREPARE_HOST = f"""
for user in ops guard plain; do useradd --create-home --shell /bin/bash $user; done
echo guard:lab-guard-password | chpasswd
echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
echo 'guard ALL=(ALL:ALL) ALL' >/etc/sudoers.d/guard
chmod 440 /etc/sudoers.d/ops /etc/sudoers.d/guard
rm -f /etc/ssh/ssh_host_*
echo 'HostKey /etc/ssh/ssh_host_ed25519_key' >/etc/ssh/sshd_config.d/lab.conf
for unit in {MASKED_UNITS}; do ln -sf /dev/null /etc/systemd/system/$unit; done
ln -sf /lib/systemd/system/multi-user.target /etc/systemd/system/default.target
"""
HOST_PACKAGES = "openssh-server sudo iproute2 iptables procps tini systemd-sysv dbus kmod wget less"
DOCKER_PACKAGES = ("docker.io", "docker-cli", "docker-compose", "docker-buildx")

HOST_BASE = Recipe(
    "host-base",
    TRIXIE,
    packages=tuple(HOST_PACKAGES.split()),
    after=PREPARE_HOST,
    files=((SCRIPTS / "lab-ulimit", "/usr/lib/lsb/init-functions.d/00-lab-ulimit"),),
    image=False,
)
# Docker's packages lie in the bare host's archive, so that installing them there needs no download.
HOST_BARE = Recipe("host-bare", HOST_BASE, download=DOCKER_PACKAGES, image=False)
HOST_DOCKER = Recipe("host-docker", HOST_BARE, packages=DOCKER_PACKAGES, image=False)

# --- images ---------------------------------------------------------------------------------------

DIND_TOOLS = ("iptables", "iproute2", "procps", "openssl", "kmod", "xz-utils", "tini")
DIND_FILES = (
    (SCRIPTS / "dockerd-entrypoint.sh", "/usr/local/bin/dockerd-entrypoint.sh"),
    (SCRIPTS / "dind", "/usr/local/bin/dind"),
)
CLI_FILES = ((SCRIPTS / "docker-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh"),)

DOCKER_CLI = Recipe("docker-cli", FORKY, packages=("docker-cli", "docker-buildx"), files=CLI_FILES)
ENGINE_28 = Recipe("engine-28.5", DOCKER_CLI, packages=("docker.io", *DIND_TOOLS))
ENGINE_26 = Recipe(
    "engine-26.1", TRIXIE, packages=("docker.io", "docker-cli", "docker-buildx", *DIND_TOOLS)
)
ENGINE_20 = Recipe("engine-20.10", BOOKWORM, packages=("docker.io", *DIND_TOOLS))
DIND_28 = Recipe("dind-28.5", ENGINE_28, files=DIND_FILES)
DIND_26 = Recipe("dind-26.1", ENGINE_26, files=DIND_FILES)
DIND_20 = Recipe("dind-20.10", ENGINE_20, files=DIND_FILES)

DEBIAN = Recipe(
    "debian", TRIXIE, files=((SCRIPTS / "docker-clean", "/etc/apt/apt.conf.d/docker-clean"),)
)
PYTHON_TOOLCHAIN = Recipe(
    "python-toolchain",
    DEBIAN,
    packages=("python3", "python3-pip", "python3-venv"),
    after=(
        "rm -f /usr/lib/python3.*/EXTERNALLY-MANAGED;"
        " ln -s /usr/bin/python3 /usr/local/bin/python; ln -s /usr/bin/pip /usr/local/bin/pip"
    ),
)
# Where uv is wanted it is there already, so that builds need no index of packages for it.
PYTHON_UV = Recipe("python-uv", PYTHON_TOOLCHAIN, wheels=("uv==0.9.30",))
NODE_TOOLCHAIN = Recipe("node-toolchain", DEBIAN, packages=("nodejs", "npm"))
NODE_MANAGERS = Recipe(
    "node-managers",
    NODE_TOOLCHAIN,
    tarballs=("yarn@1.22.22", "@yarnpkg/cli-dist@4.10.3", "pnpm@10.20.0"),
    files=(
        (SCRIPTS / "yarn", "/usr/local/bin/yarn"),
        (SCRIPTS / "corepack", "/usr/local/bin/corepack"),
    ),
)
RUST_TOOLCHAIN = Recipe(
    "rust-toolchain",
    DEBIAN,
    packages=("cargo", "rustc", "rust-clippy", "rustfmt", "gcc", "libc6-dev"),
    after="mkdir -p -m 1777 /usr/local/cargo",
    files=((SCRIPTS / "rustup", "/usr/local/bin/rustup"),),
)
GOLANG = Recipe("golang", TRIXIE, packages=("golang-go",), after="mkdir -p -m 1777 /go/src /go/bin")
POSTGRES = Recipe(
    "postgres",
    TRIXIE,
    packages=("postgresql-17",),
    before=(
        "mkdir -p /etc/postgresql-common;"
        " echo create_main_cluster=false >/etc/postgresql-common/createcluster.conf"
    ),
    files=((SCRIPTS / "postgres-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh"),),
)
MARIADB = Recipe(
    "mariadb",
    TRIXIE,
    packages=("mariadb-server-core", "mariadb-client"),
    after="id mysql >/dev/null 2>&1 || useradd --system --home-dir /var/lib/mysql mysql",
    files=((SCRIPTS / "mariadb-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh"),),
)
REDIS = Recipe(
    "redis",
    TRIXIE,
    packages=("redis-server",),
    files=((SCRIPTS / "redis-entrypoint.sh", "/usr/local/bin/docker-entrypoint.sh"),),
)
REGISTRY = Recipe(
    "registry",
    TRIXIE,
    packages=("docker-registry", "wget"),
    after=(
        "ln -s /usr/bin/docker-registry /usr/bin/registry;"
        " mkdir -p /etc/docker/registry /var/lib/registry;"
        " printf 'version: 0.1\\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\\n"
        'http: {addr: ":5000"}\\n\' >/etc/docker/registry/config.yml'
    ),
)
GIT = Recipe("git", TRIXIE, packages=("git",))
DRONE_GIT = Recipe("drone-git", GIT, files=((DRONE / "clone", "/usr/local/bin/clone"),))
PYTHON = Recipe("python", TRIXIE, packages=("python3", "python3-docker", "python3-yaml", "wget"))
DRONE_RUNNER = Recipe(
    "drone-runner", PYTHON, files=((DRONE / "runner.py", "/usr/bin/drone-runner-docker"),)
)

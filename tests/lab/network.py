"""The lab's bridge, its way out, and the claim of a subnet so that several labs get along."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import locked
from tests.lab.shell import LabError, run

# One directory per claimed subnet, naming the lab's state directory: also the list of all labs.
CLAIMS = Path("/run/runnerkit-lab")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class Network:
    """The addresses and device names of one lab."""

    index: int

    @property
    def bridge(self) -> str:
        """The bridge's device name."""
        return f"rklab{self.index}"

    @property
    def subnet(self) -> str:
        """The subnet of the bridge."""
        return f"10.213.{self.index}.0/24"

    @property
    def gateway(self) -> str:
        """This machine's address on the bridge, where the lab's services listen."""
        return f"10.213.{self.index}.1"

    def address(self, number: int) -> str:
        """The address of the host with this number."""
        return f"10.213.{self.index}.{10 + number}"

    def device(self, number: int) -> str:
        """This machine's end of the host's cable."""
        return f"rk{self.index}h{number}"

    def create(self) -> None:
        """Make what is missing of the bridge and its rules."""
        if not Path(f"/sys/class/net/{self.bridge}").exists():
            run(["ip", "link", "add", self.bridge, "type", "bridge"])
        run(["ip", "address", "replace", f"{self.gateway}/24", "dev", self.bridge])
        run(["ip", "link", "set", self.bridge, "up"])
        for table, chain, *rule in self._rules():
            present = ["iptables", "-w", "-t", table, "-C", chain, *rule]
            try:
                run(present)
            except LabError:
                run(["iptables", "-w", "-t", table, "-I", chain, *rule])
        FORWARDING.write_text("1")

    def remove(self) -> None:
        """Undo create, whatever of it there is."""
        for table, chain, *rule in self._rules():
            with contextlib.suppress(LabError):
                while True:
                    run(["iptables", "-w", "-t", table, "-D", chain, *rule])
        for path in Path("/sys/class/net").glob(f"rk{self.index}h*"):
            unplug(path.name)
        unplug(self.bridge)

    def plug(self, number: int, pid: int) -> None:
        """Give the network namespace of a process the host's cable, as its eth0."""
        device = self.device(number)
        # A namespace that has just ended gives its devices back a moment later.
        unplug(device)
        # The same address after each boot, or neighbours go on asking for the old one.
        address = f"02:d5:{self.index:02x}:00:00:{number:02x}"
        peer = ["peer", "name", "eth0", "address", address, "netns", str(pid)]
        run(["ip", "link", "add", device, "type", "veth", *peer])
        run(["ip", "link", "set", device, "master", self.bridge, "up"])

    def _rules(self) -> list[list[str]]:
        outside = ["-s", self.subnet, "!", "-d", self.subnet, "-j", "MASQUERADE"]
        return [
            ["nat", "POSTROUTING", *outside],
            ["filter", "FORWARD", "-i", self.bridge, "-j", "ACCEPT"],
            ["filter", "FORWARD", "-o", self.bridge, "-j", "ACCEPT"],
        ]


def unplug(device: str) -> None:
    """Remove a device if it is there."""
    if Path(f"/sys/class/net/{device}").exists():
        run(["ip", "link", "del", device], check=False)


def claim(state: Path) -> Network:
    """A subnet that nothing else on this machine uses, recorded as this lab's."""
    with locked(CLAIMS / "lock"):
        for index, owner in claims().items():
            if owner == state:
                return Network(index)
        taken = set(claims())
        text = run(["ip", "-4", "address"]) + run(["ip", "-4", "route"])
        taken |= {int(index) for index in re.findall(r"\b10\.213\.(\d+)\.", text)}
        free = next((index for index in range(1, 255) if index not in taken), None)
        if free is None:
            raise LabError("no subnet of 10.213.0.0/16 is free")
        place = CLAIMS / str(free)
        place.mkdir()
        facts = {"state": str(state), "forwarding": FORWARDING.read_text().strip()}
        (place / "claim.json").write_text(json.dumps(facts))
        return Network(free)


def claims() -> dict[int, Path]:
    """Every claimed subnet and the state directory of the lab that claimed it."""
    found = {}
    for file in CLAIMS.glob("*/claim.json"):
        with contextlib.suppress(ValueError, KeyError):
            found[int(file.parent.name)] = Path(json.loads(file.read_text())["state"])
    return found


def release(index: int) -> None:
    """Give a subnet back; after the last one, forwarding is what it was before the first."""
    with locked(CLAIMS / "lock"):
        place = CLAIMS / str(index)
        forwarding = "1"
        with contextlib.suppress(OSError, ValueError, KeyError):
            forwarding = json.loads((place / "claim.json").read_text())["forwarding"]
        rest = [other for other in claims() if other != index]
        if forwarding == "0":
            if rest:
                _inherit(rest[0])
            else:
                FORWARDING.write_text("0")
        shutil.rmtree(place, ignore_errors=True)


def _inherit(index: int) -> None:
    """Let another lab be the one that turns forwarding off."""
    file = CLAIMS / str(index) / "claim.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"forwarding": "0"}))

"""Units and containers, by cgroups as systemd and the container engines make them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.attribution.cgroup import place

ID = "3f29d8c1b5a7" + "0123456789abcdef" * 3 + "0123"


@pytest.mark.parametrize(
    ("text", "unit", "container"),
    [
        ("0::/\n", "", ""),
        ("0::/system.slice/evil.service\n", "evil.service", ""),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service", ""),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service\n", "foo.service", ""),
        (f"0::/system.slice/docker-{ID}.scope\n", f"docker-{ID}.scope", ID[:12]),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", f"libpod-{ID}.scope", ID[:12]),
        (f"0::/system.slice/web.service/libpod-payload-{ID}\n", "web.service", ID[:12]),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", f"cri-containerd-{ID}.scope", ID[:12]),
        (f"0::/kubepods/besteffort/pod1/{ID}\n", "", ID[:12]),
        (f"0::/docker/{ID}\n", "", ID[:12]),
        ("0::/machine.slice/systemd-nspawn@db.service/payload\n", "systemd-nspawn@db.service", "db"),
        ("0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope\n", "machine-qemu\\x2d1\\x2dvm.scope", "qemu-1-vm"),
        ("0::/lxc.payload.web/system.slice/nginx.service\n", "nginx.service", "web"),
        ("3:cpu:/x\n1:name=systemd:/system.slice/old.service\n0::/\n", "old.service", ""),
        ("0::/system.slice/a:b.service\n", "a:b.service", ""),
        ("0::/system.slice/\x1b[31m.service\n", "?[31m.service", ""),
        ("0::/machine.slice/machine-\\x1b.scope\n", "machine-\\x1b.scope", "?"),
        ("", "", ""),
        ("nonsense\n::\n", "", ""),
    ],
)
def test_a_cgroup_says_unit_and_container(text: str, unit: str, container: str) -> None:
    assert place(text.encode()) == (unit, container)


@given(st.binary())
def test_no_bytes_are_an_error(raw: bytes) -> None:
    assert all(each.isprintable() for each in place(b"0::/" + raw))

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
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session.scope", ""),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service\n",
            "user@1000.service/foo.service",
            "",
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", "user@1000.service/init.scope", ""),
        (
            f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container\n",
            "user@1000.service/libpod.scope",
            ID[:12],
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service\n", "user@1000.service", ""),
        (f"0::/system.slice/docker-{ID}.scope\n", "docker.scope", ID[:12]),
        (f"0::/machine.slice/libpod-{ID}.scope/container\n", "libpod.scope", ID[:12]),
        (f"0::/system.slice/web.service/libpod-payload-{ID}\n", "web.service", ID[:12]),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n", "cri-containerd.scope", ID[:12]),
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


@pytest.mark.parametrize(
    ("unit", "folded"),
    [
        ("session-c2.scope", "session.scope"),
        ("run-u1234.service", "run.service"),
        ("run-r0f1e2d3c4b5a69788796a5b4c3d2e1f0.scope", "run.scope"),
        ("run-p77-i78.service", "run.service"),
        ("app-gnome-firefox-4711.scope", "app-gnome-firefox.scope"),
        ("app-org.kde.konsole@0f1e2d3c4b5a69788796a5b4c3d2e1f0.service", "app-org.kde.konsole.service"),
        ("vte-spawn-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0.scope", "vte-spawn.scope"),
        ("snap.firefox.firefox-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0.scope", "snap.firefox.firefox.scope"),
        (f"libpod-conmon-{ID}.scope", "libpod-conmon.scope"),
        ("sshd@12-203.0.113.1:22-198.51.100.7:40000.service", "sshd@.service"),
        ("getty@tty1.service", "getty@tty1.service"),
        ("user@1000.service", "user@1000.service"),
        ("init.scope", "init.scope"),
        ("php8-fpm-2.service", "php8-fpm-2.service"),
        ("runner.service", "runner.service"),
        ("session-migration.service", "session-migration.service"),
        ("run-media.mount", "run-media.mount"),
    ],
)
def test_what_is_another_name_each_time_is_left_out(unit: str, folded: str) -> None:
    assert place(f"0::/system.slice/{unit}\n".encode()) == (folded, place(f"0::/a/{unit}\n".encode())[1])


@given(st.binary())
def test_no_bytes_are_an_error(raw: bytes) -> None:
    assert all(each.isprintable() for each in place(b"0::/" + raw))

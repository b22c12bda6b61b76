"""The levels of isolation, and which of them this machine gives: found out by trying, best first."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr_sandbox.execute import run_program
from rlvr_sandbox.guest import linux
from rlvr_sandbox.limits import Limits
from rlvr_sandbox.worker import Worker, others_can_enter

Level = Literal["bwrap", "namespaces", "landlock", "unsafe"]
"""bwrap       a bubblewrap cell; per run fresh user, mount, pid, ipc and uts namespaces, Landlock, seccomp, rlimits
namespaces  the same, with the cell made by ourselves: bubblewrap is not installed
landlock    Landlock, seccomp and rlimits alone, where namespaces are forbidden
unsafe      a plain process with rlimits: no protection at all, for tests on machines that have nothing better"""

LEVELS: tuple[Level, ...] = ("bwrap", "namespaces", "landlock", "unsafe")
MINIMUM_VARIABLE = "RLVR_SANDBOX_MINIMUM"
_ADVICE = {
    "bwrap": "Install bubblewrap (apt-get install bubblewrap); in a container allow user namespaces and mounts.",
    "namespaces": "Allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns; "
    "in Docker --security-opt seccomp=unconfined, or run as a worker under runsc).",
    "landlock": "Use Linux 5.13 or later with landlock among the security modules (lsm=landlock,...).",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether this machine gives a level, and if not, why not."""

    level: Level
    available: bool
    text: str


def check_level(name: str) -> Level:
    """The level of this name. Raises ConfigError."""
    for level in LEVELS:
        if level == name:
            return level
    raise ConfigError(f"there is no isolation level {name!r}; the levels are {', '.join(LEVELS)}. Nothing was run.")


def at_least(level: Level, minimum: Level) -> bool:
    """Whether `level` isolates as well as `minimum`; "bwrap" and "namespaces" are equals."""
    rank = {"bwrap": 2, "namespaces": 2, "landlock": 1, "unsafe": 0}
    return rank[level] >= rank[minimum]


def configured_minimum() -> Level:
    """What $RLVR_SANDBOX_MINIMUM asks for, else "landlock"."""
    return check_level(os.environ.get(MINIMUM_VARIABLE, "landlock"))


def start_worker(level: Level, *, tester: bool = False) -> Worker:
    """A worker at this level that has proved itself. Raises SandboxUnavailableError, naming the reason."""
    if level != "unsafe" and sys.platform != "linux":
        raise SandboxUnavailableError(f"level {level!r} needs Linux; this is {sys.platform}. Nothing was run.")
    bwrap = shutil.which("bwrap") if level == "bwrap" else None
    if level == "bwrap" and bwrap is None:
        raise SandboxUnavailableError("bubblewrap (bwrap) is not installed. Nothing was run.")
    python, home = _interpreter(level)
    worker = Worker(level, python=python, python_home=home, bwrap=bwrap, tester=tester)
    try:
        if level == "landlock" and worker.landlock == 0:
            raise SandboxUnavailableError("the kernel has no Landlock. Nothing was run.")
        proof = run_program(worker, {"kind": "python", "code": "print(6 * 7)"}, b"", Limits())
        if proof.stdout != b"42\n":
            raise SandboxUnavailableError(
                f"the first program at level {level!r} gave {proof.verdict}: {proof.stderr[-300:].decode(errors='replace')!r}"
            )
    except BaseException:
        worker.close()
        raise
    return worker


def first_worker(minimum: Level | None = None) -> Worker:
    """A worker at the best level this machine gives, found by trying; later ones of this process start there at once.

    Raises SandboxUnavailableError if that is below `minimum` (default: `configured_minimum`).
    """
    wanted = configured_minimum() if minimum is None else check_level(minimum)
    known = _chosen.get(wanted)
    reasons = []
    for level in LEVELS if known is None else (known,):
        if not at_least(level, wanted):
            break
        try:
            worker = start_worker(level)
        except SandboxUnavailableError as error:
            reasons.append(f"{level}: {error}")
            continue
        _chosen[wanted] = level
        return worker
    raise SandboxUnavailableError(
        f"this machine gives no sandbox at level {wanted!r} or better ({'; '.join(reasons)}), and a weaker one was not "
        f"allowed. Lower the minimum (Pool(minimum=...) or ${MINIMUM_VARIABLE}) if you can answer for it."
    )


_chosen: dict[Level, Level] = {}


def probe() -> list[Offer]:
    """What each level gives on this machine, best first; "unsafe" is not tried, it is always there."""
    offers = []
    for level in LEVELS[:-1]:
        try:
            worker = start_worker(level)
        except SandboxUnavailableError as error:
            offers.append(Offer(level, False, f"{error} {_ADVICE[level]}"))
            continue
        landlock = f"Landlock version {worker.landlock}" if worker.landlock else "no Landlock"
        worker.close()
        offers.append(Offer(level, True, f"works, {landlock}"))
    return offers


def doctor() -> list[tuple[str, bool, str]]:
    """Lines for `rlvr doctor`: (label, fine, text)."""
    offers = probe()
    best = next((offer.level for offer in offers if offer.available), None)
    lines = [("sandbox level", best is not None, best or "none: no program of a model can be judged here")]
    return lines + [(f"sandbox: {offer.level}", offer.available, offer.text) for offer in offers]


def _interpreter(level: Level) -> tuple[str, str]:
    """(executable, prefix) of the Python that programs run on: ours, or at "landlock" one that nobody can read."""
    python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    home = os.path.realpath(sys.base_prefix)
    if level != "landlock" or not linux.can_step_down() or others_can_enter(home):
        return python, home
    for candidate in ("/usr/local/bin/python3", "/usr/bin/python3"):
        path = os.path.realpath(candidate)
        if os.access(path, os.X_OK) and others_can_enter(path):
            return path, str(Path(path).parent.parent)
    raise SandboxUnavailableError(
        f"run as root, the landlock level steps down to the user nobody, who cannot read {home}, and there is no "
        "/usr/bin/python3. Install one or do not run as root. Nothing was run."
    )

"""A Python program as `__main__`, alone in its run: what `python main.py` would do, without starting Python again."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import io
import os
import sys
import threading
import types
from typing import Any, NoReturn

COMPILE_ERRORS = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
"""What compile() raises for a text that is no program; UnicodeError and null bytes are ValueErrors."""


def compile_program(source: str, filename: str) -> types.CodeType:
    """The code of a program; raises one of COMPILE_ERRORS."""
    return compile(source.removeprefix("\ufeff"), filename, "exec", dont_inherit=True)


def run(source: str, status: int) -> NoReturn:
    """Runs `source` and ends the process with the exit status that Python would give.

    A text that is no program is told by a "C" on the descriptor `status`, which is closed before the program starts.
    """
    filename = os.path.join(os.getcwd(), "main.py")
    sys.argv[:] = [filename]
    sys.path.insert(0, os.getcwd())
    try:
        code = compile_program(source, filename)
    except COMPILE_ERRORS as error:
        import traceback

        os.write(status, b"C")
        traceback.print_exception(type(error), error, None)
        sys.stderr.flush()
        os._exit(1)
    os.close(status)
    # Programs may read their own source, and processes that they spawn import it.
    with contextlib.suppress(OSError, UnicodeError):
        fd = os.open(filename, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, source.encode())
        os.close(fd)
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=filename, __builtins__=builtins)
    sys.modules["__main__"] = module
    status = 1
    try:
        exec(code, module.__dict__)  # noqa: S102  this process exists to run it
        status = 0
    except SystemExit as leave:
        status = _exit_status(leave.code)
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:
        _report(error, source, filename)
    _leave(status, source, filename)


def open_standard_streams() -> None:
    """Stream objects on descriptors 0, 1 and 2, made once by the fork server.

    It has pipes there when it makes them, because the objects remember what a descriptor can do; each run puts its own
    pipes in their place.
    """
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(  # type: ignore[misc]
        open(0, "rb", closefd=False),  # noqa: SIM115
        encoding="utf-8",
        errors="surrogateescape",
    )
    for number, name, errors in ((1, "stdout", "surrogateescape"), (2, "stderr", "backslashreplace")):
        binary: Any = open(number, "wb", closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(binary, encoding="utf-8", errors=errors, line_buffering=number == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF
    with contextlib.suppress(BaseException):
        print(code, file=sys.stderr)
    return 1


def _report(error: BaseException, source: str, filename: str) -> None:
    import linecache  # not at the top: they and what they need would be copied into every run
    import traceback

    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        traceback.print_exception(type(error), error, trace)
    except BaseException:
        with contextlib.suppress(BaseException):
            sys.stderr.write(f"{type(error).__name__}\n")


def _leave(status: int, source: str, filename: str) -> NoReturn:
    """What Python does at the end: wait for threads, run exit handlers, flush."""
    try:
        if len(threading._active) > 1 or threading._threading_atexits:  # type: ignore[attr-defined]
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except SystemExit as leave:
        status = _exit_status(leave.code)
    except BaseException as error:
        _report(error, source, filename)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            status = status or 120
    os._exit(status)

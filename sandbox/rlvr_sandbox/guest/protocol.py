"""The words between a worker and its fork server, on the control socket.

host -> fork server   op, run, value:  m watch memory from now on, value MiB · u what has been used? · k kill · x exit
fork server -> host   op, run, and:    E ended: exit code, why, CPU ms, peak KiB · U used: processes, MiB, CPU ms, wait ms
                                       F no process could be made: errno · R ready: Landlock version
"""

from __future__ import annotations

import struct

REQUEST = struct.Struct("<cII")
REPORT = struct.Struct("<cIiIII")
WHY_EXIT, WHY_KILLED, WHY_MEMORY, WHY_DISK = 0, 1, 2, 3

"""The `tools/` environments: tool calls in one turn, and worlds where tools act."""

from rlvr_envs.tools import call, rows  # noqa: F401 (importing registers them)
from rlvr_envs.tools.worlds import bank, booking, files, inventory, sheet, transit  # noqa: F401

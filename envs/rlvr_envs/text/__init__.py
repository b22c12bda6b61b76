"""The `text/` environments: exact work on texts, and instructions a program can check."""

from rlvr_envs.text import constraints, json_schema, transform  # noqa: F401 (importing registers them)

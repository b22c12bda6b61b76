"""Programming: public problems, and generated ones whose golds come from running programs in the sandbox."""

from rlvr_envs.code import datasets, prediction, regex, session, sql, synthesis

__all__ = ["datasets", "prediction", "regex", "session", "sql", "synthesis"]

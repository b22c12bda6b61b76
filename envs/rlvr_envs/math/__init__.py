"""Math problems: public data sets, and generators that know the exact answer."""

from rlvr_envs.math import arithmetic, files, fractions, linear_equation, linear_system

__all__ = ["arithmetic", "files", "fractions", "linear_equation", "linear_system"]

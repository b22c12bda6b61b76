"""The weight of the KL penalty: fixed, or following a target."""

from __future__ import annotations

from collections.abc import Mapping

from rlvr.errors import ConfigError
from rlvr_trainers.losses import KL_KINDS, adapt_kl_coefficient

KL_CHOICES = (*KL_KINDS, "full")
"""How a run may measure the KL: estimated from the sampled tokens, or over the whole vocabulary."""


class KLController:
    """Holds the KL coefficient of a run. With a target it rises while the policy is further from the reference than that."""

    def __init__(self, coefficient: float, *, target: float | None = None, horizon: int = 10_000) -> None:
        """`target` in nats a token; `horizon` in rows: how many it takes to follow. None keeps the coefficient as it is."""
        if target is not None and (target <= 0 or horizon < 1):
            raise ConfigError(f"the KL target is {target} and its horizon {horizon}; both must be positive.")
        if target is not None and coefficient <= 0:
            raise ConfigError(f"a KL coefficient of {coefficient} stays 0 whatever the target; start from a small one.")
        self.coefficient = coefficient
        self.target = target
        self.horizon = horizon

    def observe(self, kl: float, num_rows: int) -> None:
        """Take a batch's mean KL a token into account."""
        if self.target is not None:
            self.coefficient = adapt_kl_coefficient(
                self.coefficient, kl, target=self.target, num_samples=num_rows, horizon=self.horizon
            )

    def state_dict(self) -> dict[str, float]:
        """The inverse of `load_state_dict`."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.coefficient = state["coefficient"]

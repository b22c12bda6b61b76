"""Advantages as pure functions of rewards, values and masks. None carries a gradient.

Letters: P prompts, G answers a prompt (the group), B = P * G rows, T positions. A mask is True where the policy chose the
token. Time is counted in policy tokens: tool text and padding are skipped, never zeroed and stepped over, so that nothing
that stands there changes an advantage, a discount or a normaliser.
"""

from rlvr_trainers.advantages.baselines import batch_baseline, critic_baseline, reinforce_plus_plus, whiten
from rlvr_trainers.advantages.gae import discounted_final, discounted_returns, gae
from rlvr_trainers.advantages.group import GroupWarning, dead_groups, group_relative, leave_one_out
from rlvr_trainers.advantages.outcome import GROUPED, AdvantageKind, outcome
from rlvr_trainers.advantages.process import process_supervision, total_reward
from rlvr_trainers.advantages.rewards import kl_in_reward, place_final_reward, soft_overlong_penalty

__all__ = [
    "GROUPED",
    "AdvantageKind",
    "GroupWarning",
    "batch_baseline",
    "critic_baseline",
    "dead_groups",
    "discounted_final",
    "discounted_returns",
    "gae",
    "group_relative",
    "kl_in_reward",
    "leave_one_out",
    "outcome",
    "place_final_reward",
    "process_supervision",
    "reinforce_plus_plus",
    "soft_overlong_penalty",
    "total_reward",
    "whiten",
]

"""GRPO, PPO and what they are made of."""

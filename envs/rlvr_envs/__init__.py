"""The built-in environments, one sub-package per namespace; each is found through the `rlvr.envs` entry points."""

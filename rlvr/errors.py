"""The errors of rlvr: one root, one class per boundary.

    RlvrError
    ├── ConfigError               a setting, knob, recipe or file given by the user is wrong      (ValueError)
    ├── UnknownEnvironmentError   no environment has this id                                     (LookupError)
    ├── EnvironmentFault          an author's generator, session or verifier misbehaved
    ├── EngineError               a generation engine could not answer
    │   └── StaleWeightsError     it answered from other weights than the trainer's
    ├── SandboxUnavailableError   a program could not be run, so there is no verdict on it
    ├── CheckpointError           a checkpoint, or another file of a run, could not be written, or does not fit
    └── RecordError               an evaluation record is damaged or does not match

A message says which value was wrong, what follows from it and what to do. Text from a model never raises: a wrong or
hostile answer is a Score. Each class also is the built-in error it refines, so that callers who catch that keep working;
all of them take one message and so pickle.
"""

from __future__ import annotations


class RlvrError(Exception):
    """Root of everything rlvr raises on purpose."""


class ConfigError(RlvrError, ValueError):
    """A setting, a knob, a recipe or an input file is wrong; nothing was started."""


class UnknownEnvironmentError(RlvrError, LookupError):
    """No environment is registered under this id."""


class EnvironmentFault(RlvrError):
    """An environment's own code misbehaved: its generator, its session or its verifier."""


class EngineError(RlvrError):
    """A generation engine could not do what it was asked."""


class StaleWeightsError(EngineError):
    """The weights that were served are not the weights that were trained."""


class SandboxUnavailableError(RlvrError):
    """The sandbox could not run the program; the episode has no reward."""


class CheckpointError(RlvrError):
    """A checkpoint could not be written, read or fitted to this run, or another file of the run could not be written."""


class RecordError(RlvrError):
    """An evaluation record is damaged, incomplete or does not match what it is compared with."""

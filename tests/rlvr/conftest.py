"""Environments that only tests register. Each test takes its registrations away again."""

import pytest

from rlvr import registry


@pytest.fixture(autouse=True)
def _registrations_end_with_the_test():
    before = dict(registry.registered())
    yield
    for env_id in set(registry.registered()) - set(before):
        if env_id.startswith(("test/", "x/")):
            registry._specs.pop(env_id)

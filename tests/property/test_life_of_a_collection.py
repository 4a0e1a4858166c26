"""Whatever applications, workers, operators and strangers do, dying in the middle: no write is lost or comes back."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.property.life import LifeOfACollection

TestLifeOfACollection = LifeOfACollection.TestCase
TestLifeOfACollection.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

"""What all tests share: how Hypothesis draws."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A machine that is busy with other work is slow to draw, and says nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

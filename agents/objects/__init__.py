"""Objects of a log: found, tracked, forecast, and scored against a simulator's truth."""

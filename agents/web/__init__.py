"""What robots, people and programs ask over HTTP: cells, forecasts, explanations, scores."""

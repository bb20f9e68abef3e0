"""The error map: where forecasts go wrong, where they cannot be judged, and a page that shows it."""

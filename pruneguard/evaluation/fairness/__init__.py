"""Groups of people: their rates under both models, and a model that learns from its own decisions."""

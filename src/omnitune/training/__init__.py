"""Training: the model of a recipe, the loop, and what the loop needs."""

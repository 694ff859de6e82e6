"""Decode, resize once to the model's grid, preprocess differentiably, draw."""

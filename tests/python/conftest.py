"""Fixtures of the Python tests; what they are is in structures.py."""

from structures import model, neutral_model, water_like

__all__ = ["model", "neutral_model", "water_like"]

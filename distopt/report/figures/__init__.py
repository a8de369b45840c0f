"""Figures over runs, as PNG and SVG."""

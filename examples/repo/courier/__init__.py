"""Deliver events to a webhook without losing them."""

"""Experiments and measurements that the figures of results/ come from."""

"""Experiments and measurements that README's figures come from."""

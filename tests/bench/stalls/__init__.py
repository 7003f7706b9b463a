"""Servers that stand still now and then, bare and supervised under the same load."""

"""Servers that stall at times, bare and supervised, under the same load."""

"""Clients that measure what a reload does to connections: a storm of new ones, and held ones."""

"""Clients that measure what a reload does to new connections (a storm) and to held ones."""

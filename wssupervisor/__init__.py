"""Reload servers of long-lived connections without losing one."""

__version__ = "0.1.0"

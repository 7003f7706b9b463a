"""Interfaces of the Linux kernel, one file for each."""

"""Clients that never finish their request, against servers, bare and supervised."""

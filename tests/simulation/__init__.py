"""A deterministic simulation of replicas: virtual time, faults and crashes, all of it from one number (the seed)."""

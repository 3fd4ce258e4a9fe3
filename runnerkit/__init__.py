"""Provision and look after Drone CI runners that own a persistent Docker-in-Docker daemon."""

__version__ = "0.1.0"

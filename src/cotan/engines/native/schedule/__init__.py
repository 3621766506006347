"""Scheduling: what each defining equation accesses, which equations share a loop nest, and which results may alias inputs."""

"""The injector: a program of its own, wired here from the same blocks as the sidecar."""

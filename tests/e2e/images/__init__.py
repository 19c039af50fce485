"""Images for the real node, without Docker and without a registry: the project's own Dockerfiles on a base made here.

`base` makes the base from Debian packages, `buildah` drives the builder, `build` decides what must be built anew.
"""

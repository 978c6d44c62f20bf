"""Streams: a network on a signal that arrives in chunks, equal to the network on the whole signal."""

"""The HTTP shim: one door for every client, in front of the runtimes."""

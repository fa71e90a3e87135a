"""One module an engine.

`open(files, x, threads)` returns a function that runs the network once and returns the output as
an array. It does what an application does for each new input of this shape, in the fastest way the
engine documents. `PACKAGE` is the name of the distribution, for its version.
"""

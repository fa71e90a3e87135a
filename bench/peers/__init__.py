"""Parts of the inference benchmark: the networks, one module an engine, their processes, the report."""

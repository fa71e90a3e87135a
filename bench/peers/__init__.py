"""Parts of the inference benchmark: networks, one module an engine, processes, report."""

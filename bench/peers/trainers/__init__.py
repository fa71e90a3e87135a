"""One module an engine of the training benchmark.

`open(name, weights, threads)` returns an object that trains the network `name`, whose first weights
are the arrays that the iterator `weights` gives, in Keras's form and in the order of
`training_networks.build`:

- `batches(x, y, size)` returns the batches of arrays (N, H, W, C) and (N,) as `step` takes them;
- `step(batch)` trains on a batch and returns its loss;
- `epoch(x, y, size)` trains on all samples once, in a new order;
- `set_rate(rate)` sets the learning rate;
- `predict(x)` returns the scores (N, classes), computed as after training.

`open(..., dropout=False)` leaves dropout out. `PACKAGES` are the distributions whose versions are
reported.
"""

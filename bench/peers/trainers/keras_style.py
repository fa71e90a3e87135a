"""Training in Keras's way, for fastconv and for Keras."""

from .. import training_networks


class Trainer:
    def __init__(self, keras, name, weights, dropout):
        keras.utils.set_random_seed(0)
        self.model, layers = training_networks.build(keras, name, dropout)
        for layer in layers:
            layer.set_weights([next(weights) for _ in layer.weights])
        case = training_networks.NETWORKS[name]
        if case.optimizer == "adam":
            optimizer = keras.optimizers.Adam(1e-3)
        elif case.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
        else:
            optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=3e-3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        if case.smoothing:
            loss = keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=case.smoothing
            )
        metrics = ["accuracy"] if case.epoch else []  # as learners call `fit`
        self.model.compile(optimizer=optimizer, loss=loss, metrics=metrics)

    def batches(self, x, y, size):
        return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]

    def step(self, batch):
        return float(self.model.train_on_batch(*batch, return_dict=True)["loss"])

    def epoch(self, x, y, size):
        self.model.fit(x, y, batch_size=size, epochs=1, verbose=0)

    def set_rate(self, rate):
        self.model.optimizer.learning_rate = rate

    def predict(self, x):
        return self.model.predict(x, batch_size=500, verbose=0)

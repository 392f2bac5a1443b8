"""Training of LES models: settings, data, loss, the training loop on Lightning, and the program `les-train`.

Nothing is imported here, so that reading the settings does not load the trainer library.
"""

"""Where weights, configuration and vocabulary come from, and the adapters that change them."""

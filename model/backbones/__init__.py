"""The network from pixels to features: its architecture, its weights, its graph."""

"""The commands: ``stgraph train | evaluate | predict | info``."""

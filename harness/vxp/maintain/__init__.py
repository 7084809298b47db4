"""Commands of who maintains the registry: its documents, frozen items, shipped weights, fetched data."""

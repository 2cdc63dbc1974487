"""Published ranks: the bundled files, the Hub, downloads and the registry of names."""

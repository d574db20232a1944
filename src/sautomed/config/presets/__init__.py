"""Presets: one YAML file each, with what differs from the defaults in `sautomed.config`."""

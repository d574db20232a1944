"""Presets: one YAML file each, holding what differs from the defaults in `sautomed.config`."""

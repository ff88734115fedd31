"""Tables and figures over many experiments: CSV, PNG and SVG."""

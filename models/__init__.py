"""Networks and engines: tensors and arrays in, tensors and arrays out; importable without torch."""

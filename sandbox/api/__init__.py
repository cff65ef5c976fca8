"""The part of the REST API that the product and its tests use."""

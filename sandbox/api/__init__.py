"""The REST API, as far as the product and its tests reach."""

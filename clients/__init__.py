"""Packages for applications, and the script that generates parts of them."""

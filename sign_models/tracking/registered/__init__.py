"""The registry: versions, their aliases and ancestors, and what is published of them."""

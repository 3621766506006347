"""First-order ops, one family a file. Importing this package defines them all."""

from . import arithmetic, casting, families, logic, ordering, transcendental

__all__ = ["arithmetic", "casting", "families", "logic", "ordering", "transcendental"]

"""``python -m cotan``."""

from .cli import main

raise SystemExit(main())

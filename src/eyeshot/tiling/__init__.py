"""Tiles: an input too large to run at once, run in parts that together give exactly what the whole gives.

| to see | look into |
|---|---|
| a plan, made and proved | ``plan``, ``planning``, ``extents``, ``crops``, ``subject`` |
| what comes on top | ``request`` (``eyeshot.tile_plan``), ``memory``, ``approximate``, ``trial``, ``terms`` |
| networks that run | ``models``, ``modules``, ``models_torch``, ``models_onnx``, ``prints`` |
| arrays in memory | ``arrays`` (``eyeshot.tile``) |
| images and results in files | ``images``, ``outputs``, ``raw``, ``layout``, ``scaling`` |
| a run and its record | ``run``, ``header``, ``journal``, ``work``, ``engine``, ``cluster``, ``allocator`` |
"""

from eyeshot.tiling.extents import NotTileable
from eyeshot.tiling.plan import Span, Tile, TileAxis, TilePlan

__all__ = ["NotTileable", "Span", "Tile", "TileAxis", "TilePlan"]

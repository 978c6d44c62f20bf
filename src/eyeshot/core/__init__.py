"""The algebra of what units read: graph, primitives and engines. numpy only; imports nothing else of ours."""

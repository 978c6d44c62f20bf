"""The live page: a small ASGI app on starlette that serves the front end and answers its questions.

    settings.py   limits, and what the command line named
    asks.py       the shape of every request; anything else is refused before work begins
    guard.py      Host, Origin, methods and types, and the headers of every answer
    bodies.py     request bodies, bounded in size and in time while they stream in
    app.py        the routes
    static.py     the front end's files
    catalog.py    examples, names of the zoos' models, the lesson
    uploads.py    uploaded ONNX files, by the hash of their content
    pool.py       worker processes: lanes, queues, time limits, cancelling
    frames.py     messages between the server and a worker
    worker.py     a worker process: its limits, its loop, its end with the server's
    jobs.py       what a worker does: analyze, check, unit, outline, report
    sources.py    from a source of the page to a report; no path, no module of the page's own choice
    outline.py    where the layers and parameters of a spec stand in its text
    places.py     where in the text a message about a spec belongs
    protocol.py   uvicorn's connection, with our headers on its own answers
    serve.py      the server's life, from the socket to the last worker's end

The server process parses requests and waits; all analysis is in workers. Importing this loads nothing.
"""

__all__: list[str] = []

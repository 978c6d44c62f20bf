"""The web page: a report to look at, as one file or served live.

    page.py       a report as the page's data, JSON values (schema ``eyeshot.page/1``)
    tables.py     arrays of hulls, written down as runs
    relations.py  what each layer reads of the layers before it
    backdrop.py   the user's image behind the input
    single.py     the page and its data as one HTML file
    write.py      a report as that file, with findings and lesson
    front/        the page itself: HTML, CSS, and JavaScript modules that run as they stand

The same front end serves both; ``eyeshot.explore`` is the server of the live one. Importing this loads nothing.
"""

__all__: list[str] = []

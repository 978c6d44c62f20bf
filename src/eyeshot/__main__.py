"""``python -m eyeshot``: the command line."""

from eyeshot.cli import main

if __name__ == "__main__":
    main(prog_name="eyeshot")

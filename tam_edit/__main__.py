"""`python -m tam_edit` is the same as `tam-edit`."""

from tam_edit.cli import main

if __name__ == "__main__":
    main()

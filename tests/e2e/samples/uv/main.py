"""Greets."""

from words import EVERYBODY

GREETING = "hello"


def greet() -> str:
    return f"{GREETING}, {EVERYBODY}"


if __name__ == "__main__":
    print(greet())

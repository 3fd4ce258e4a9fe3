import unittest

from main import greet


class Greeting(unittest.TestCase):
    def test_greets_everybody(self) -> None:
        assert greet().endswith(", world")

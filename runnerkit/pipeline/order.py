"""In which order Drone starts steps. Pure.

Drone decides it once for a pipeline: without any `depends_on` one step follows the other; a single
`depends_on` makes a graph of it, where every step without one starts at once.
"""

from __future__ import annotations

from runnerkit.pipeline.drone import Pipeline, Step


def is_graph(pipeline: Pipeline) -> bool:
    """Whether the steps start by `depends_on`, and not one after the other."""
    return any(step.depends_on for step in pipeline.steps)


def before(pipeline: Pipeline, step: Step) -> tuple[Step, ...]:
    """The steps that have certainly ended when this one starts."""
    if not is_graph(pipeline):
        return pipeline.steps[: pipeline.steps.index(step)]
    names = {str(name) for name in step.depends_on}
    while True:
        further = {
            str(name)
            for other in pipeline.steps
            if other.name in names
            for name in other.depends_on
        }
        if further <= names:
            ended = (x for x in pipeline.steps if x.name in names and x is not step)
            return tuple(ended)
        names |= further

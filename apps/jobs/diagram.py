"""The diagram of a job's states, drawn from the table of transitions."""

from apps.jobs.models import FINAL_STATES, TRANSITIONS, JobState


def mermaid() -> str:
    """The transitions as a Mermaid state diagram, for docs/reference/jobs.md."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobState.QUEUED.label}: a user asks for it"]
    lines += [
        f"    {before.label} --> {after.label}: {why}"
        for (before, after), why in TRANSITIONS.items()
    ]
    lines += [f"    {state.label} --> [*]" for state in JobState if state in FINAL_STATES]
    return "\n".join(lines) + "\n"

"""`drupelet-agent doctor`: looks at everything the agent needs on this device, and says how to mend what is wrong."""

from drupelet_agent.doctor.examination import examine
from drupelet_agent.doctor.findings import Finding

__all__ = ["Finding", "examine"]

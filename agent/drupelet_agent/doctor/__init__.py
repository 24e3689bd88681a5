"""`drupelet-agent doctor`: examines everything the agent needs on this device and says how to repair what is wrong.

Must not import `serving`, `worker` or `app`.
"""

from drupelet_agent.doctor.examination import examine
from drupelet_agent.doctor.findings import Finding

__all__ = ["Finding", "examine"]

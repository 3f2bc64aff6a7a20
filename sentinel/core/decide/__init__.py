"""The one chain: expect, score, follow incidents, learn; and what is remembered from block to block."""

from sentinel.core.decide.chain import Decision, decide
from sentinel.core.decide.state import DecisionSettings, DecisionState, new_decision_state

__all__ = ["Decision", "DecisionSettings", "DecisionState", "decide", "new_decision_state"]

"""The states of an outbox entry, which the store keeps as these words.

pending     not taken yet
delivered   taken, and told again from time to time
along       told on the page of a later incident, for as long as that is told
parked      refused for good; a person must look
done        history
"""

from __future__ import annotations

PENDING, DELIVERED, ALONG, PARKED, DONE = "pending", "delivered", "along", "parked", "done"

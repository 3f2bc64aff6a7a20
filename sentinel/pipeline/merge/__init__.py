"""Windows of collecting sidecars become windows of their service: taken, waited for, merged and handed on."""

"""The HTTP API, ``/api/v1``: thin handlers over the services.

- Every request is authenticated and its body bounded before a handler sees it (:mod:`server.api.door`).
- Every error is a problem document (RFC 9457) with a stable code; every refusal for trust or role is on record.
- Every list is paged by an opaque cursor; every POST may carry an Idempotency-Key.
"""

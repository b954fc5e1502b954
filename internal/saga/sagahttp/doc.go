// Package sagahttp is where services start sagas, ask for them, and tell the end of steps: SAGAS_URL.
//
//	POST /NAME                     start: 202, or 200 once it has ended; Idempotency-Key, Prefer: wait=30
//	GET  /NAME?key=&state=&limit=  {"instances": […], "next": …}
//	GET  /NAME/ID?wait=30s         one instance
//	POST /NAME/ID/cancel           {"reason": "…"}
//	POST /NAME/ID/steps/STEP       {"output": …} or {"refused": "why"}: the end of a step that was answered with 202
//
// Who asks is known by the listener that the request came by. What is not declared is refused with the line to add. Refusals are
// problem documents (RFC 9457).
package sagahttp

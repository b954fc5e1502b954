// Publishing needs no library: one POST to EVENTS_URL/TOPIC, as the HTTP binding of CloudEvents says, in binary mode (the
// attributes are headers, the body is the data). The answer comes when the event is on disk.

/**
 * @typedef {{topic: string, id: string, key: string, traceparent?: string, data: object}} CloudEvent
 *
 * @param {string} base EVENTS_URL
 * @param {{timeoutMs?: number}} [options]
 * @returns {(event: CloudEvent) => Promise<void>}
 */
export function publisher (base, { timeoutMs = 10_000 } = {}) {
  return async ({ topic, id, key, traceparent, data }) => {
    const headers = {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-type': topic,
      'ce-source': '/services/enrichment',
      'ce-id': id,
      'ce-time': new Date().toISOString(),
      'ce-partitionkey': key // events of one key stay in order
    }
    if (traceparent) headers['ce-traceparent'] = traceparent
    const res = await fetch(`${base}/${topic}`, {
      method: 'POST', headers, body: JSON.stringify(data), signal: AbortSignal.timeout(timeoutMs)
    })
    const text = await res.text() // read to the end, so that the connection serves again
    if (!res.ok) throw new Error(`publish to ${topic}: ${res.status} ${text.slice(0, 500)}`)
  }
}

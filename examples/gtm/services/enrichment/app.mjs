import { createServer } from 'node:http'
import { enrich } from './waterfall.mjs'

const LIMIT = 64 * 1024

class Problem extends Error {
  constructor (status, code, detail) {
    super(detail)
    Object.assign(this, { status, code })
  }
}

/**
 * The service as an http.Server that does not listen yet. It takes lead.captured at /events/lead-captured and publishes
 * lead.enriched. Nothing is stored: an event that is delivered again is answered by the same event, of the same id, which
 * whoever takes it takes once.
 * @param {{providers: import('./waterfall.mjs').Provider[],
 *   publish: (event: import('./publish.mjs').CloudEvent) => Promise<void>,
 *   log?: (level: string, msg: string, fields?: object) => void}} options
 */
export function app ({ providers, publish, log = () => {} }) {
  const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 180_000 }, (req, res) => {
    const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(req.headers.traceparent ?? '')?.[1]
    const ctx = { traceId, log: (level, msg, fields) => log(level, msg, { ...fields, trace_id: traceId }) }
    route(req, res, providers, publish, ctx).catch((error) => fail(req, res, error, ctx))
  })
  return server
}

async function route (req, res, providers, publish, ctx) {
  const { pathname } = new URL(req.url, 'http://service')
  if (pathname === '/healthz' && req.method === 'GET') return answer(res, 200, { status: 'ok' })
  if (pathname !== '/events/lead-captured') throw new Problem(404, 'not-found', `There is nothing at ${pathname}.`)
  if (req.method !== 'POST') {
    res.setHeader('Allow', 'POST')
    throw new Problem(405, 'method-not-allowed', 'Only POST is understood here.')
  }
  const { lead } = await body(req)
  const { domain } = subjectOf(lead)
  const onError = (provider, error) => ctx.log('WARN', 'provider failed', { provider, error: String(error) })
  const { facts } = await enrich(providers, { domain }, { signal: patience(req, res), onError })
  await publish({
    topic: 'lead.enriched',
    id: `enriched-${lead.id}`,
    key: lead.id,
    traceparent: req.headers.traceparent,
    data: { lead, company: companyOf(lead, facts), facts }
  })
  res.writeHead(204).end() // only now: what is published is on disk
}

// companyOf is the company that the lead belongs to. Who writes from a free-mail or disposable address belongs to none,
// unless the person names its domain.
function companyOf (lead, facts) {
  const kind = facts.email_kind?.value
  const named = lead.company_domain !== lead.address_domain
  const domain = kind !== 'disposable' && (named || kind === 'work') ? lead.company_domain : ''
  return { domain, name: facts.company?.value || lead.company || '', country: facts.country?.value ?? '' }
}

// patience ends with the client, or with the time that Atoll-Deadline leaves.
function patience (req, res) {
  const gone = new AbortController()
  res.on('close', () => gone.abort())
  const left = Number.parseInt(req.headers['atoll-deadline'] ?? '', 10)
  // A twentieth is kept back, so that the answer with what is known by then still arrives in time.
  return left > 0 ? AbortSignal.any([gone.signal, AbortSignal.timeout(Math.floor(Math.min(left * 0.95, 600_000)))]) : gone.signal
}

async function body (req) {
  const type = (req.headers['content-type'] ?? 'application/json').split(';')[0].trim().toLowerCase()
  if (type !== 'application/json') throw new Problem(415, 'not-json', 'The body must be application/json.')
  const chunks = []
  let size = 0
  for await (const chunk of req) {
    size += chunk.length
    if (size > LIMIT) throw new Problem(413, 'body-too-large', `The body is larger than ${LIMIT} bytes.`)
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) ?? {}
  } catch {
    throw new Problem(400, 'bad-json', 'The body is not JSON.')
  }
}

const DOMAIN = /^(?=.{3,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/

function subjectOf (input) {
  const email = typeof input?.email === 'string' ? input.email.trim().toLowerCase() : ''
  const domain = email.slice(email.lastIndexOf('@') + 1)
  if (typeof input?.id !== 'string' || email.lastIndexOf('@') < 1 || !DOMAIN.test(domain)) {
    throw new Problem(422, 'bad-lead', 'The event must hold a lead with an id and an email address.')
  }
  return { domain }
}

function answer (res, status, value, type = 'application/json') {
  res.writeHead(status, { 'Content-Type': type })
  res.end(JSON.stringify(value) + '\n')
}

function fail (req, res, error, ctx) {
  const known = error instanceof Problem
  if (!known) ctx.log('ERROR', 'request failed', { error: error?.stack ?? String(error) })
  if (res.headersSent) return res.destroy()
  const status = known ? error.status : 500
  if (status === 413) res.setHeader('Connection', 'close') // the rest of the body is not read
  answer(res, status, {
    type: 'about:blank',
    title: TITLES[status],
    status,
    detail: known ? error.message : 'The service could not answer. Its log says why.',
    instance: req.url.split('?')[0],
    code: known ? error.code : 'internal',
    trace_id: ctx.traceId
  }, 'application/problem+json')
}

const TITLES = {
  400: 'Bad Request', 404: 'Not Found', 405: 'Method Not Allowed', 413: 'Content Too Large',
  415: 'Unsupported Media Type', 422: 'Unprocessable Content', 500: 'Internal Server Error'
}

// A waterfall of providers: each is asked in turn, only for what is still missing, and no longer than its
// time-out. A provider that fails or hangs costs its time-out and nothing else.

export const WANTED = ['email_kind', 'company', 'country', 'technologies']

/**
 * @typedef {{value: unknown, source: string}} Fact
 * @typedef {{name: string, gives: string[], timeoutMs: number,
 *   ask: (subject: {domain: string, kind?: string}, signal: AbortSignal) => Promise<Record<string, Fact>>}} Provider
 *
 * @param {Provider[]} providers in the order in which they are asked
 * @param {{domain: string}} subject
 * @param {{signal?: AbortSignal, onError?: (provider: string, error: unknown) => void}} [options]
 */
export async function enrich (providers, subject, { signal, onError = () => {} } = {}) {
  const facts = {}
  const asked = []
  for (const provider of providers) {
    const missing = provider.gives.filter((name) => !(name in facts))
    if (missing.length === 0) continue
    const began = performance.now()
    const outcome = await ask(provider, { ...subject, kind: facts.email_kind?.value }, signal, onError)
    for (const name of missing) {
      if (outcome.facts[name] !== undefined) facts[name] = outcome.facts[name]
    }
    asked.push({ name: provider.name, outcome: outcome.word, ms: Math.round((performance.now() - began) * 100) / 100 })
  }
  return { domain: subject.domain, facts, unknown: WANTED.filter((name) => !(name in facts)), providers: asked }
}

async function ask (provider, subject, outer, onError) {
  if (outer?.aborted) return { word: 'skipped', facts: {} }
  const own = new AbortController()
  const abort = () => own.abort()
  outer?.addEventListener('abort', abort, { once: true })
  let timer
  const patience = new Promise((resolve) => {
    timer = setTimeout(abort, provider.timeoutMs)
    own.signal.addEventListener('abort', () => resolve({ word: 'timeout', facts: {} }), { once: true })
  })
  try {
    const answer = (async () => {
      const facts = (await provider.ask(subject, own.signal)) ?? {}
      return { word: Object.keys(facts).length > 0 ? 'facts' : 'nothing', facts }
    })()
    answer.catch(() => {}) // when patience ends first, a later failure is nobody's concern
    return await Promise.race([answer, patience])
  } catch (error) {
    onError(provider.name, error)
    return { word: own.signal.aborted ? 'timeout' : 'error', facts: {} }
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener('abort', abort)
  }
}

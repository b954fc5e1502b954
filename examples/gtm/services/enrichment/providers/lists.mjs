import { lines, upwards } from './data.mjs'

/** Free-mail and disposable domains. An address on neither list counts as one at work. */
export function lists () {
  const free = new Set(lines('free.txt'))
  const disposable = new Set(lines('disposable.txt'))
  const on = (list, domain) => upwards(domain).some((d) => list.has(d))
  return {
    name: 'lists',
    gives: ['email_kind'],
    timeoutMs: 100,
    ask: async ({ domain }) => {
      if (on(free, domain)) return { email_kind: { value: 'free', source: 'free-email-domains' } }
      if (on(disposable, domain)) return { email_kind: { value: 'disposable', source: 'disposable-email-domains' } }
      return { email_kind: { value: 'work', source: 'on no list of free or disposable domains' } }
    }
  }
}

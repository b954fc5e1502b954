import { lines, upwards } from './data.mjs'

/** Companies by the domain that carries their name. */
export function directory () {
  const companies = new Map(lines('companies.tsv').map((line) => line.split('\t')))
  return {
    name: 'directory',
    gives: ['company'],
    timeoutMs: 100,
    ask: async ({ domain, kind }) => {
      if (kind !== 'work') return {} // gmail.com is Google's; who writes from it is not Google
      const known = upwards(domain).find((d) => companies.has(d))
      return known ? { company: { value: companies.get(known), source: `simple-icons: ${known}` } } : {}
    }
  }
}

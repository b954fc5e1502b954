import { readFileSync } from 'node:fs'

/** The lines of a file under data/, without comments and empty ones. */
export function lines (name) {
  const text = readFileSync(new URL(`../data/${name}`, import.meta.url), 'utf8')
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

/** The domain and each domain above it, down to two labels: a.b.c.com gives a.b.c.com, b.c.com, c.com. */
export function upwards (domain) {
  const labels = domain.split('.')
  return labels.slice(0, -1).map((_, i) => labels.slice(i).join('.'))
}

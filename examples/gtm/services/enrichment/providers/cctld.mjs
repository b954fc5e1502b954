// National top-level domains whose registration asks for a presence in the country or that are seldom used from
// elsewhere. Those sold to the whole world (.io, .co, .ai, .me, .tv, .cc, .gg, .to, .so, .sh, …) say nothing of
// where a company is, and are left out on purpose. Codes are those of ISO 3166-1.
const COUNTRIES = new Map(('ae ar at au be bg br ca ch cl cn cr cy cz de dk ec ee eg es fi fr gr hk hr hu id ie il in ' +
  'is it jp ke kr lt lu lv ma mt mx my ng nl no nz pe ph pk pl pt ro rs ru sa se sg si sk th tr tw ua us uy vn za')
  .split(' ').map((code) => [code, code.toUpperCase()]))
COUNTRIES.set('uk', 'GB')

/** The country of a national domain. */
export function cctld () {
  return {
    name: 'cctld',
    gives: ['country'],
    timeoutMs: 100,
    ask: async ({ domain, kind }) => {
      const tld = domain.split('.').at(-1)
      const country = COUNTRIES.get(tld)
      if (!country || kind === 'disposable') return {}
      return { country: { value: country, source: `top-level domain .${tld}` } }
    }
  }
}

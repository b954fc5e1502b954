package telemetrytest

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/telemetry"
)

// pools are what values are drawn from.
type pools struct {
	users, products, agents, words, lines *rand.Zipf
	agent, word, search                   []string
	failures                              []pattern
}

func newPools(r *rand.Rand) pools {
	p := pools{
		users: rand.NewZipf(r, 1.2, 40, 199_999), products: rand.NewZipf(r, 1.1, 20, 49_999), agents: rand.NewZipf(r, 1.3, 3, 59),
		words: rand.NewZipf(r, 1.1, 8, 399), lines: rand.NewZipf(r, 1.4, 30, 1999),
	}
	for i := range 60 {
		major := strconv.Itoa(140 - i/3)
		p.agent = append(p.agent, []string{
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + major + ".0.0.0 Safari/537.36",
			"Mozilla/5.0 (iPhone; CPU iPhone OS 18_" + strconv.Itoa(i%7) + " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18." + strconv.Itoa(i%7) + " Mobile/15E148 Safari/604.1",
			"Mozilla/5.0 (X11; Linux x86_64; rv:" + major + ".0) Gecko/20100101 Firefox/" + major + ".0",
			"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/" + major + ".0.0.0 Mobile Safari/537.36",
			"shop-app/5." + strconv.Itoa(i) + ".2 (Android 15; okhttp/4.12.0)",
		}[i%5])
	}
	p.failures = failures()
	// Words of one's own making, so that there are as many as it needs.
	heads := strings.Fields("shoe red lamp desk cable mini ultra garden wool solar steel tea book phone case bag watch rain kids paper")
	tails := strings.Fields("classic pro set xl light blue 2026 outdoor soft travel green max kit plus home eco grey trail night slim")
	for _, a := range heads {
		for _, b := range tails {
			p.word, p.search = append(p.word, a+" "+b), append(p.search, a+"+"+b)
		}
	}
	return p
}

// values are those that a trace or a record uses in several places.
type values struct {
	user     int
	product  int
	status   int64
	method   string
	path     string
	host     string
	request  uint64   // id of a request or an object
	session  [16]byte // id of a request or a session
	order    [16]byte
	hasOrder bool
	trace    telemetry.TraceID
	time     int64
}

// fresh draws values for another trace or record.
func (g *Generator) fresh() {
	g.now = values{
		user: int(g.pools.users.Uint64()), product: int(g.pools.products.Uint64()), status: 200, method: "GET", time: g.now.time,
		request: g.r.Uint64(), session: g.newUUID(),
	}
}

// pattern is a text with places for values, such as "order <order> of <user>".
type pattern struct{ parts []part }

type part struct {
	text string
	verb verb // after text; 0 for none
}

type verb uint8

const (
	_ verb = iota
	verbN
	verbID
	verbUUID
	verbOrder
	verbUser
	verbProduct
	verbIP
	verbClient
	verbMS
	verbSize
	verbTime
	verbCLF
	verbAgent
	verbHost
	verbPath
	verbMethod
	verbStatus
	verbHex
	verbTrace
	verbWord
	verbSearch
	verbEmail
	verbMoney
	verbLine
)

func verbs() map[string]verb {
	return map[string]verb{
		"n": verbN, "id": verbID, "uuid": verbUUID, "order": verbOrder, "user": verbUser, "product": verbProduct, "ip": verbIP, "client": verbClient, "ms": verbMS,
		"size": verbSize, "time": verbTime, "clf": verbCLF, "agent": verbAgent, "host": verbHost, "path": verbPath, "method": verbMethod, "status": verbStatus,
		"hex": verbHex, "trace": verbTrace, "word": verbWord, "search": verbSearch, "email": verbEmail, "money": verbMoney, "line": verbLine,
	}
}

// compile reads a pattern. What is in angle brackets and no verb stands as it is.
func compile(text string) pattern {
	known := verbs()
	var p pattern
	kept := ""
	for text != "" {
		before, rest, _ := strings.Cut(text, "<")
		name, after, found := strings.Cut(rest, ">")
		v := known[name]
		if !found || v == 0 {
			if len(before) < len(text) {
				before += "<"
			}
			kept, text = kept+before, rest
			continue
		}
		p.parts = append(p.parts, part{kept + before, v})
		kept, text = "", after
	}
	return pattern{append(p.parts, part{text: kept})}
}

// fill makes a text of a pattern.
func (g *Generator) fill(p *pattern) string {
	if len(p.parts) == 1 {
		return p.parts[0].text
	}
	g.text = g.text[:0]
	for i := range p.parts {
		g.text = append(g.text, p.parts[i].text...)
		g.text = g.append(g.text, p.parts[i].verb)
	}
	return string(g.text)
}

func (g *Generator) append(b []byte, v verb) []byte {
	switch v {
	case verbN:
		x := g.r.Float64()
		return strconv.AppendInt(b, int64(math.Exp(x*x*8)), 10)
	case verbID:
		return strconv.AppendUint(b, 1_000_000+g.r.Uint64N(9_000_000), 10)
	case verbUUID:
		return appendUUID(b, g.now.session)
	case verbOrder:
		return appendUUID(b, g.order())
	case verbUser:
		return strconv.AppendInt(append(b, "u-"...), int64(100_000+g.now.user*7%900_000), 10)
	case verbProduct:
		return strconv.AppendInt(append(b, "SKU-"...), int64(10_000+g.now.product), 10)
	case verbIP:
		return appendIP(b, 10<<24|4<<16|g.r.Uint32()&0x3f)
	case verbClient:
		return appendIP(b, client(g.now.user))
	case verbMS:
		return strconv.AppendFloat(b, float64(g.around(12*time.Millisecond, 1.1)/10_000)/100, 'f', 2, 64)
	case verbSize:
		if g.chance(0.3) {
			return strconv.AppendInt(b, g.around(1800, 1.2), 10)
		}
		// What is asked for has its size.
		return strconv.AppendInt(b, int64(600+g.now.product*2654435761%9000), 10)
	case verbTime:
		return time.Unix(0, g.now.time).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	case verbCLF:
		return time.Unix(0, g.now.time).UTC().AppendFormat(b, "02/Jan/2006:15:04:05 +0000")
	case verbAgent:
		return append(b, g.agent()...)
	case verbHost:
		return append(b, g.now.host...)
	case verbPath:
		return append(b, g.now.path...)
	case verbMethod:
		return append(b, g.now.method...)
	case verbStatus:
		return strconv.AppendInt(b, g.now.status, 10)
	case verbHex:
		return appendHex(b, g.now.request)
	case verbTrace:
		b = appendHex(b, binary.BigEndian.Uint64(g.now.trace[:8]))
		return appendHex(b, binary.BigEndian.Uint64(g.now.trace[8:]))
	default:
		return g.appendWords(b, v)
	}
}

func (g *Generator) appendWords(b []byte, v verb) []byte {
	switch v {
	case verbWord:
		return append(b, g.pools.word[g.pools.words.Uint64()]...)
	case verbSearch:
		return append(b, g.pools.search[g.pools.words.Uint64()]...)
	case verbEmail:
		return append(strconv.AppendInt(append(b, "user"...), int64(g.now.user), 10), "@example.com"...)
	case verbMoney:
		cents := g.around(4500, 0.8)
		return strconv.AppendFloat(b, float64(cents)/100, 'f', 2, 64)
	case verbLine:
		return strconv.AppendUint(b, 12+g.pools.lines.Uint64(), 10)
	default:
		return b
	}
}

// order is that of the trace or record, which has one from then on.
func (g *Generator) order() [16]byte {
	if !g.now.hasOrder {
		g.now.order, g.now.hasOrder = g.newUUID(), true
	}
	return g.now.order
}

func (g *Generator) newUUID() (u [16]byte) {
	binary.BigEndian.PutUint64(u[:], g.r.Uint64())
	binary.BigEndian.PutUint64(u[8:], g.r.Uint64())
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func (g *Generator) agent() string {
	// A user keeps what it has for the most part.
	if g.chance(0.8) {
		return g.pools.agent[g.now.user*g.now.user%len(g.pools.agent)%23]
	}
	return g.pools.agent[g.pools.agents.Uint64()]
}

// client is the address that a user comes from.
func client(user int) uint32 { return bits.Reverse32(uint32(user)*2654435761)%0xc0000000 + 0x0b000000 }

func appendIP(b []byte, ip uint32) []byte {
	b = strconv.AppendUint(b, uint64(ip>>24), 10)
	for shift := 16; shift >= 0; shift -= 8 {
		b = strconv.AppendUint(append(b, '.'), uint64(ip>>shift&0xff), 10)
	}
	return b
}

const digits = "0123456789abcdef"

func appendHex(b []byte, n uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&0xf])
	}
	return b
}

func appendUUID(b []byte, u [16]byte) []byte {
	for i, c := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, digits[c>>4], digits[c&0xf])
	}
	return b
}

package telemetrytest

import (
	"strings"
	"time"
)

// operation is what a service does when it is asked, or when a message comes.
type operation struct {
	service string
	name    string // METHOD /route, /package.Service/Method of gRPC, or the topic that it consumes
	entry   int    // how often a trace begins with it, in comparison
	path    string // pattern of url.path, for HTTP
	query   string // pattern of url.query, or ""
	own     time.Duration
	fails   float64 // how likely it fails by itself
	steps   []step

	home            *service
	method, route   string
	pathOf, queryOf pattern
	full            pattern // url.full, as its callers see it
	rpcService      string
}

// step is something that an operation does. times is how often, at least and at most; 0, 0 is once.
type step struct {
	do     doing
	what   string // operation for call and publish, statement for query and cached, function for work
	where  string // database for query, else ""
	took   time.Duration
	chance float64 // 0 is always
	times  [2]int

	statement pattern
	verb      string // of the statement
	table     string
}

type doing uint8

const (
	call doing = iota
	publish
	query
	cached
	work
)

const (
	us = time.Microsecond
	ms = time.Millisecond
)

// prepare reads the patterns.
func (o *operation) prepare() {
	if method, route, ok := strings.Cut(o.name, " "); ok && route[0] == '/' {
		o.method, o.route = method, route
		o.pathOf, o.queryOf = compile(o.path), compile(o.query)
		full := "http://" + o.service + ":8080" + o.path
		if o.query != "" {
			full += "?" + o.query
		}
		o.full = compile(full)
	} else if strings.HasPrefix(o.name, "/") {
		o.rpcService, o.method, _ = strings.Cut(o.name[1:], "/")
	}
	for i := range o.steps {
		s := &o.steps[i]
		s.statement = compile(s.what)
		words := strings.Fields(s.what)
		s.verb = words[0]
		for n, w := range words[:len(words)-1] {
			if w == "FROM" || w == "INTO" || w == "UPDATE" {
				s.table = strings.Trim(words[n+1], ",")
			}
		}
	}
}

// operations are what the shop does. The first ones are where traces begin.
func operations() []*operation {
	return append(pages(), append(inner(), jobs()...)...)
}

// pages are what browsers ask for.
func pages() []*operation {
	return []*operation{
		{service: "web", name: "GET /products/{id}", entry: 26, path: "/products/<product>", own: 900 * us, fails: 0.0056, steps: []step{
			{do: call, what: "GET /session"},
			{do: call, what: "GET /catalog/{sku}"},
			{do: call, what: "/shop.pricing.v1.Pricing/Quote"},
			{do: call, what: "GET /reviews/{sku}", chance: 0.6},
			{do: call, what: "GET /recommendations", chance: 0.5},
			{do: call, what: "/shop.ads.v1.Ads/Pick", chance: 0.3},
			{do: work, what: "render.productPage", took: 2 * ms},
		}},
		{service: "web", name: "GET /search", entry: 20, path: "/search", query: "q=<search>&page=<n>&sort=relevance", own: 700 * us, fails: 0.0056, steps: []step{
			{do: call, what: "GET /session"},
			{do: call, what: "POST /search/query"},
			{do: call, what: "/shop.pricing.v1.Pricing/Quote", times: [2]int{1, 4}},
			{do: work, what: "render.searchPage", took: 3 * ms},
		}},
		{service: "bff", name: "GET /api/orders/{id}", entry: 14, path: "/api/orders/<order>", own: 400 * us, fails: 0.007, steps: []step{
			{do: call, what: "GET /session"},
			{do: call, what: "GET /orders/{id}"},
			{do: call, what: "GET /shipments/{order}", chance: 0.7},
		}},
		{service: "bff", name: "PUT /api/cart/items/{sku}", entry: 12, path: "/api/cart/items/<product>", own: 400 * us, fails: 0.007, steps: []step{
			{do: call, what: "GET /session"},
			{do: call, what: "PUT /carts/{user}/items/{sku}"},
		}},
		{service: "bff", name: "POST /api/checkout", entry: 6, path: "/api/checkout", own: 600 * us, fails: 0.021, steps: []step{
			{do: call, what: "GET /session"},
			{do: call, what: "POST /checkout"},
		}},
		{service: "bff", name: "POST /api/login", entry: 4, path: "/api/login", own: 300 * us, fails: 0.028, steps: []step{
			{do: call, what: "POST /token"},
			{do: cached, what: "SETEX session:<uuid> 3600", took: 300 * us},
		}},
		{service: "bff", name: "GET /api/me", entry: 6, path: "/api/me", query: "fields=name,points&v=<n>", own: 300 * us, fails: 0.0035, steps: []step{
			{do: call, what: "GET /session"},
			{do: call, what: "GET /users/{id}"},
			{do: call, what: "/shop.loyalty.v1.Loyalty/Points", chance: 0.6},
		}},
		{service: "web", name: "GET /media/{path}", entry: 8, path: "/media/<product>/<hex>.webp", query: "w=<n>", own: 500 * us, fails: 0.007, steps: []step{
			{do: cached, what: "GET media:<hex>", took: 300 * us},
			{do: call, what: "GET /objects/{key}"},
		}},
	}
}

// inner are what services ask of each other.
func inner() []*operation {
	return []*operation{
		{service: "auth", name: "GET /session", path: "/session", own: 250 * us, fails: 0.0042, steps: []step{
			{do: cached, what: "GET session:<uuid>", took: 250 * us},
			{do: query, where: "auth", what: "SELECT id, user_id, expires_at FROM sessions WHERE token_hash = $1 AND expires_at > now()", took: 900 * us, chance: 0.08},
		}},
		{service: "auth", name: "POST /token", path: "/token", own: 400 * us, fails: 0.028, steps: []step{
			{do: query, where: "auth", what: "SELECT id, password_hash, locked_until FROM accounts WHERE lower(email) = lower($1)", took: 900 * us},
			{do: work, what: "argon2.Verify", took: 45 * ms},
			{do: query, where: "auth", what: "INSERT INTO sessions (id, user_id, token_hash, client_address, expires_at) VALUES ($1, $2, $3, $4, $5)", took: 1200 * us},
		}},
		{service: "users", name: "GET /users/{id}", path: "/users/<user>", own: 300 * us, fails: 0.0035, steps: []step{
			{do: query, where: "users", what: "SELECT id, name, email, locale, created_at FROM users WHERE id = $1", took: 700 * us},
		}},
		{service: "loyalty", name: "/shop.loyalty.v1.Loyalty/Points", own: 200 * us, fails: 0.0035, steps: []step{
			{do: query, where: "loyalty", what: "SELECT sum(points) FROM ledger WHERE user_id = $1", took: 1500 * us},
		}},
		{service: "catalog", name: "GET /catalog/{sku}", path: "/catalog/<product>", own: 300 * us, fails: 0.0042, steps: []step{
			{do: cached, what: "GET product:<product>", took: 250 * us},
			{do: query, where: "catalog", what: "SELECT p.sku, p.title, p.description, p.attributes, m.url FROM products p LEFT JOIN media m ON m.sku = p.sku WHERE p.sku = $1", took: 1800 * us, chance: 0.15},
		}},
		{service: "pricing", name: "/shop.pricing.v1.Pricing/Quote", own: 150 * us, fails: 0.0028, steps: []step{
			{do: cached, what: "HMGET price:<product> net vat currency", took: 220 * us},
			{do: call, what: "/shop.currency.v1.Currency/Convert", chance: 0.12},
		}},
		{service: "currency", name: "/shop.currency.v1.Currency/Convert", own: 60 * us, fails: 0.0014},
		{service: "ads", name: "/shop.ads.v1.Ads/Pick", own: 1500 * us, fails: 0.014, steps: []step{{do: cached, what: "ZREVRANGE ads:<n> 0 3", took: 300 * us}}},
		{service: "reviews", name: "GET /reviews/{sku}", path: "/reviews/<product>", query: "limit=10&offset=<n>", own: 2 * ms, fails: 0.007, steps: []step{
			{do: query, where: "reviews", what: "SELECT id, author, stars, title, body FROM reviews WHERE sku = ? ORDER BY created_at DESC LIMIT 10 OFFSET <n>", took: 3 * ms},
		}},
		{service: "recommendations", name: "GET /recommendations", path: "/recommendations", query: "sku=<product>&user=<user>&k=12", own: 3 * ms, fails: 0.014, steps: []step{
			{do: cached, what: "GET vec:<user>", took: 300 * us},
			{do: work, what: "model.rank", took: 9 * ms},
		}},
		{service: "search", name: "POST /search/query", path: "/search/query", own: 2 * ms, fails: 0.0084, steps: []step{
			{do: work, what: "parser.parse_query", took: 400 * us},
			{do: query, where: "search", what: "SELECT sku, ts_rank(doc, q) FROM documents, plainto_tsquery('<word>') q WHERE doc @@ q ORDER BY 2 DESC LIMIT 48", took: 14 * ms},
			{do: work, what: "facets.collect", took: 1500 * us},
		}},
		{service: "cart", name: "PUT /carts/{user}/items/{sku}", path: "/carts/<user>/items/<product>", own: 500 * us, fails: 0.007, steps: []step{
			{do: cached, what: "HGETALL cart:<user>", took: 300 * us},
			{do: call, what: "POST /stock/check"},
			{do: cached, what: "HSET cart:<user> <product> <n>", took: 320 * us},
			{do: publish, what: "cart.changed", chance: 0.5},
		}},
		{service: "inventory", name: "POST /stock/check", path: "/stock/check", own: 400 * us, fails: 0.007, steps: []step{
			{do: query, where: "inventory", what: "SELECT sku, warehouse, available FROM stock WHERE sku = ANY($1)", took: 1100 * us},
		}},
		{service: "orders", name: "GET /orders/{id}", path: "/orders/<order>", own: 500 * us, fails: 0.0056, steps: []step{
			{do: query, where: "orders", what: "SELECT o.id, o.state, o.total, o.placed_at FROM orders o WHERE o.id = $1", took: 900 * us},
			{do: query, where: "orders", what: "SELECT line, sku, quantity, price FROM order_lines WHERE order_id = $1 ORDER BY line", took: 1000 * us},
		}},
		{service: "shipping", name: "GET /shipments/{order}", path: "/shipments/<order>", own: 250 * us, fails: 0.0056, steps: []step{
			{do: query, where: "shipping", what: "SELECT id, carrier, tracking, eta FROM shipments WHERE order_id = $1", took: 800 * us},
		}},
		{service: "checkout", name: "POST /checkout", path: "/checkout", own: 900 * us, fails: 0.021, steps: []step{
			{do: cached, what: "HGETALL cart:<user>", took: 300 * us},
			{do: call, what: "/shop.pricing.v1.Pricing/Quote", times: [2]int{1, 3}},
			{do: call, what: "POST /stock/check"},
			{do: call, what: "POST /score"},
			{do: call, what: "POST /payments"},
			{do: call, what: "POST /orders"},
			{do: publish, what: "order.placed"},
		}},
		{service: "fraud", name: "POST /score", path: "/score", own: 2 * ms, fails: 0.014, steps: []step{
			{do: query, where: "fraud", what: "SELECT count(*) FROM attempts WHERE fingerprint = %(fp)s AND at > now() - interval '1 hour'", took: 2 * ms},
			{do: work, what: "model.score", took: 7 * ms},
		}},
		{service: "payments", name: "POST /payments", path: "/payments", own: 1200 * us, fails: 0.084, steps: []step{
			{do: query, where: "payments", what: "INSERT INTO payments (id, order_id, amount, currency, state) VALUES ($1, $2, $3, $4, 'pending')", took: 1500 * us},
			{do: work, what: "gateway.authorize", took: 120 * ms},
			{do: query, where: "payments", what: "UPDATE payments SET state = $2, authorization_code = $3 WHERE id = $1", took: 1300 * us},
		}},
		{service: "orders", name: "POST /orders", path: "/orders", own: 900 * us, fails: 0.014, steps: []step{
			{do: query, where: "orders", what: "INSERT INTO orders (id, user_id, state, total) VALUES ($1, $2, $3, $4)", took: 1300 * us},
			{do: query, where: "orders", what: "INSERT INTO order_lines (order_id, line, sku, quantity, price) VALUES ($1, $2, $3, $4, $5)", took: 900 * us, times: [2]int{1, 4}},
			{do: query, where: "orders", what: "INSERT INTO outbox (id, topic, payload) VALUES ($1, $2, $3)", took: 700 * us},
		}},
		{service: "media", name: "GET /objects/{key}", path: "/objects/<hex>", own: 2 * ms, fails: 0.007, steps: []step{{do: work, what: "image.Resize", took: 11 * ms, chance: 0.3}}},
	}
}

// jobs are what messages and clocks set off.
func jobs() []*operation {
	return []*operation{
		{service: "shipping", name: "order.placed", own: 1 * ms, fails: 0.021, steps: []step{
			{do: call, what: "POST /pick"},
			{do: query, where: "shipping", what: "INSERT INTO shipments (id, order_id, carrier, eta) VALUES ($1, $2, $3, $4)", took: 1200 * us},
			{do: publish, what: "mail.wanted"},
		}},
		{service: "recommendations", name: "cart.changed", own: 600 * us, fails: 0.007, steps: []step{{do: cached, what: "LPUSH seen:<user> <product>", took: 250 * us}}},
		{service: "email", name: "mail.wanted", own: 2 * ms, fails: 0.042, steps: []step{
			{do: call, what: "GET /users/{id}"},
			{do: work, what: "smtp.deliver", took: 80 * ms},
		}},
		{service: "warehouse", name: "POST /pick", path: "/pick", own: 800 * us, fails: 0.014, steps: []step{
			{do: query, where: "warehouse", what: "SELECT bin, quantity FROM bins WHERE sku = $1 AND quantity > 0 ORDER BY last_picked FOR UPDATE SKIP LOCKED", took: 2 * ms, times: [2]int{1, 3}},
			{do: query, where: "warehouse", what: "UPDATE bins SET quantity = quantity - $2, last_picked = now() WHERE bin = $1", took: 1200 * us},
		}},
		{service: "notifications", name: "batch notifications", entry: 2, own: 3 * ms, fails: 0.014, steps: []step{
			{do: query, where: "notifications", what: "SELECT id, user_id, channel, payload FROM outgoing WHERE sent_at IS NULL ORDER BY id LIMIT 100", took: 3 * ms},
			{do: call, what: "GET /users/{id}", times: [2]int{1, 8}},
			{do: query, where: "notifications", what: "UPDATE outgoing SET sent_at = now() WHERE id = ANY($1)", took: 2 * ms},
		}},
		{service: "invoices", name: "batch invoices", entry: 1, own: 4 * ms, fails: 0.021, steps: []step{
			{do: call, what: "GET /orders/{id}", times: [2]int{1, 5}},
			{do: work, what: "pdf.Render", took: 60 * ms, times: [2]int{1, 5}},
			{do: query, where: "invoices", what: "INSERT INTO invoices (number, order_id, total, document) VALUES (@p0, @p1, @p2, @p3)", took: 2 * ms},
		}},
		{service: "reports", name: "batch reports", entry: 1, own: 20 * ms, fails: 0.028, steps: []step{
			{do: query, where: "warehouse_dwh", what: "SELECT date_trunc('hour', placed_at) AS h, count(*), sum(total) FROM orders WHERE placed_at >= '<time>' GROUP BY h ORDER BY h", took: 180 * ms, times: [2]int{2, 5}},
			{do: work, what: "report.write_xlsx", took: 90 * ms},
		}},
	}
}

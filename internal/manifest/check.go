package manifest

import (
	"encoding/json"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/atollhq/atoll/internal/fault"
)

// checker finds what is wrong between the parts of an application whose keys are all of the right type.
type checker struct{ *loader }

const (
	maxName     = 40
	namePattern = `^[a-z]([a-z0-9-]*[a-z0-9])?$`
)

var (
	nameOf    = regexp.MustCompile(namePattern)
	topicForm = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
)

func (c *checker) check() {
	c.name(lookup(c.root, "app"), c.app.Name, "an application")
	c.events()
	c.console()
	c.telemetry()
	c.alerts()
	c.alerting()
	c.gateway()
	c.routes()
	for _, s := range c.app.Services {
		c.service(s)
	}
	c.reachable()
	c.topics()
	c.cycles()
	c.databases()
	c.ports()
	c.sagas()
}

// name checks the form of a name, where there is one.
func (c *checker) name(n *yaml.Node, name, of string) {
	if name != "" && (len(name) > maxName || !nameOf.MatchString(name)) {
		c.add(c.fault(n, fault.CodeBadName, "%q is not a name for %s", name, of).
			Fix("use at most %d lower-case letters, digits and hyphens, with a letter first", maxName))
	}
}

func (c *checker) service(s *Service) {
	n := c.nodes[s]
	c.name(lookup(n, "service"), s.Name, "a service")
	c.calls(s, n)
	c.variables(s, n)
	c.secrets(s, n)
	c.files(s, n)
	if s.Protocol != ProtocolGRPC && s.Protocol != ProtocolTCP && s.Protocol != ProtocolHTTP {
		return // said by the decoder
	}
	if s.Ready.Kind == ReadyHTTP && s.Protocol != ProtocolHTTP {
		c.add(c.fault(lookup(n, "ready"), fault.CodeBadValue, "a path is asked by HTTP, and %s speaks %s", s.Name, s.Protocol).
			Fix("write ready: %s", map[bool]string{true: "grpc", false: "tcp"}[s.Protocol == ProtocolGRPC]))
	}
	if s.Port < 0 || s.Port > 65535 {
		c.add(c.fault(lookup(n, "port"), fault.CodeBadValue, "%d is not a port", s.Port).Fix("write a number from 1 to 65535"))
	}
	if s.Port > 0 && s.Replicas.Min > 1 {
		c.add(c.fault(lookup(n, "replicas"), fault.CodeReplicasNeedOwnPort,
			"%s insists on port %d, which only one replica can listen on", s.Name, s.Port).
			Fix("take away port and let the program listen on $PORT, or write replicas: 1"))
	}
	if s.Limits.CPU < 0 {
		c.add(c.fault(lookup(n, "limits", "cpu"), fault.CodeBadValue, "a limit of processors cannot be negative").Fix("write cpu: 0.5"))
	}
	c.scrape(s, n)
	c.publishes(s, n)
	c.subscribes(s, n)
	c.schedules(s, n)
	c.outbox(s, n)
	c.mayStart(s, n)
}

func (c *checker) calls(s *Service, n *yaml.Node) {
	seen := map[string]bool{}
	for i, call := range s.Calls {
		at := lookup(n, "calls", i)
		if at.Kind == yaml.MappingNode {
			at = lookup(at, "service")
		}
		switch {
		case call.Service == "":
		case c.app.Service(call.Service) == nil:
			c.noService(at, "call", call.Service)
		case call.Service == s.Name:
			c.add(c.fault(at, fault.CodeBadValue, "%s calls itself", s.Name).Fix("take it away; a service reaches itself without a call"))
		case seen[call.Service]:
			c.add(c.fault(at, fault.CodeDuplicateKey, "%s is named twice", call.Service).Fix("keep one of the two"))
		}
		seen[call.Service] = true
		if call.Tries < 1 || call.Tries > 10 {
			c.add(c.fault(lookup(n, "calls", i, "tries"), fault.CodeBadValue, "%d is not a number of tries", call.Tries).
				Fix("write a number from 1 to 10"))
		}
	}
}

// variables checks the environment of a service: no name that Atoll sets, no call that is not declared.
func (c *checker) variables(s *Service, n *yaml.Node) {
	for name := range s.Env {
		at := keyNode(lookup(n, "env"), name)
		if by := s.given(name); by != "" && !s.givesTheSame(name) {
			e := c.fault(at, fault.CodeVariableReserved, "%s is set by Atoll, for %s", name, by)
			if name == "PORT" {
				c.add(e.Fix("take it away; a program that insists on its port is given it by port:"))
			} else {
				c.add(e.Fix("take it away, or give the variable another name"))
			}
		} else if !nameForm.MatchString(name) {
			c.add(c.fault(at, fault.CodeBadName, "%q is not the name of an environment variable", name).
				Fix("use letters, digits and underscores, with no digit first"))
		}
	}
	texts := map[*yaml.Node]string{lookup(n, "run"): s.Run}
	for name, text := range s.Env {
		texts[lookup(n, "env", name)] = text
	}
	for at, text := range texts {
		for _, callee := range References(text) {
			if !slices.ContainsFunc(s.Calls, func(call Call) bool { return call.Service == callee }) {
				c.add(c.fault(at, fault.CodeCallUndeclared, "%s does not declare that it calls %s", s.Name, callee).
					Fix("add %s to calls: calls: [%s]", callee, strings.Join(append(s.callees(), callee), ", ")))
			}
		}
	}
}

// given tells what Atoll sets a variable for, or "" where it does not. Secrets are left out.
func (s *Service) given(name string) string {
	switch {
	case name == "PORT":
		return "the port of each replica"
	case strings.HasPrefix(name, "ATOLL_"):
		return "its own purposes"
	case name == "EVENTS_URL" && s.Events(), name == "NATS_URL" && s.Events():
		return "events"
	case name == "DATABASE_URL" && s.Database.Kind != DatabaseNone:
		return "database"
	case name == "SAGAS_URL" && len(s.Sagas) > 0:
		return "sagas"
	}
	for _, call := range s.Calls {
		if v := CallVariable(call.Service); name == v+"_URL" || name == v+"_ADDR" {
			return "the call to " + call.Service
		}
	}
	return ""
}

// givesTheSame tells whether a variable of env says no more than Atoll itself would: the address of that very call.
func (s *Service) givesTheSame(name string) bool {
	for _, call := range s.Calls {
		v := CallVariable(call.Service)
		if name == v+"_URL" && s.Env[name] == "${calls."+call.Service+".url}" || name == v+"_ADDR" && s.Env[name] == "${calls."+call.Service+".addr}" {
			return true
		}
	}
	return false
}

// callees lists the services that s may call.
func (s *Service) callees() []string {
	names := make([]string, len(s.Calls))
	for i, call := range s.Calls {
		names[i] = call.Service
	}
	return names
}

// SecretVariable is the environment variable that holds a secret, for the service and for Atoll itself.
func SecretVariable(secret string) string {
	return strings.ToUpper(strings.ReplaceAll(secret, "-", "_"))
}

// Secret is the value of a secret.
func (a *App) Secret(name string) (string, bool) {
	v, ok := a.Env[SecretVariable(name)]
	return v, ok
}

func (c *checker) secrets(s *Service, n *yaml.Node) {
	seen := map[string]string{}
	for i, name := range s.Secrets {
		at, variable := lookup(n, "secrets", i), SecretVariable(name)
		c.secret(at, name)
		by := s.given(variable)
		if _, ok := s.Env[variable]; ok {
			by = "a variable of env"
		} else if other := seen[variable]; other != "" {
			by = "the secret " + other
		} else if variable == "PATH" || variable == "HOME" {
			by = "every program"
		}
		seen[variable] = name
		if by != "" {
			c.add(c.fault(at, fault.CodeVariableReserved, "the secret %s would be %s, which is set for %s", name, variable, by).
				Fix("give the secret another name"))
		}
	}
}

// secret warns of a secret without a value; up refuses it.
func (c *checker) secret(n *yaml.Node, name string) {
	variable := SecretVariable(name)
	if !nameForm.MatchString(variable) {
		c.add(c.fault(n, fault.CodeBadName, "%q is not a name for a secret", name).
			Fix("use lower-case letters, digits and underscores, such as stripe_key"))
		return
	}
	if _, ok := c.app.Secret(name); !ok {
		c.add(c.warn(n, fault.CodeSecretUnset, "the secret %s has no value", name).
			Fix("put a line %s=… into .env, or set that environment variable", variable))
	}
}

// files checks that what a service names is there.
func (c *checker) files(s *Service, n *yaml.Node) {
	dir := c.rel(s.Dir)
	if !c.exists(dir) && len(c.reader.overlay) == 0 {
		c.add(c.fault(lookup(n, "dir"), fault.CodeFileMissing, "there is no folder %s", dir).Fix("make it, or correct dir"))
		return
	}
	if s.API != "" {
		c.file(lookup(n, "api"), path.Join(dir, s.API))
	}
	for i, also := range s.Watch.Also {
		c.file(lookup(n, "watch", "also", i), path.Join(dir, also))
	}
}

func (c *checker) file(n *yaml.Node, name string) {
	if !c.exists(name) {
		c.add(c.fault(n, fault.CodeFileMissing, "there is no %s", name).Fix("write it, or correct the name here"))
	}
}

// reachable warns of services that no request and no event can come to, and that send none either.
func (c *checker) reachable() {
	reached := map[string]bool{}
	for _, r := range c.app.Gateway.Routes {
		reached[r.To] = true
	}
	for _, s := range c.app.Services {
		for _, call := range s.Calls {
			reached[call.Service] = true
		}
	}
	for _, s := range c.app.Sagas {
		for _, name := range s.Services() {
			reached[name] = true
		}
	}
	for _, s := range c.app.Services {
		if !reached[s.Name] && len(s.Subscribes) == 0 && len(s.Publishes) == 0 && len(s.Sagas) == 0 {
			c.add(c.warn(lookup(c.nodes[s], "service"), fault.CodeServiceUnreachable,
				"nobody can reach %s: no route leads to it, no service calls it, it subscribes to nothing", s.Name).
				Fix("add a route to the gateway or name it in the calls of another service"))
		}
	}
}

// cycles warns of calls that lead back to where they began: each cycle once, with its path.
func (c *checker) cycles() {
	const fresh, open, done = 0, 1, 2
	state := map[string]int{}
	var path []string
	var visit func(s *Service)
	visit = func(s *Service) {
		state[s.Name] = open
		path = append(path, s.Name)
		for i, call := range s.Calls {
			callee := c.app.Service(call.Service)
			if callee == nil || callee == s {
				continue
			}
			switch state[callee.Name] {
			case fresh:
				visit(callee)
			case open:
				round := append(slices.Clone(path[slices.Index(path, callee.Name):]), callee.Name)
				c.add(c.warn(lookup(c.nodes[s], "calls", i), fault.CodeCallCycle, "these services call each other in a circle: %s",
					strings.Join(round, " → ")).
					Fix("turn one of the calls into an event, so that none waits for itself"))
			}
		}
		path = path[:len(path)-1]
		state[s.Name] = done
	}
	for _, s := range c.app.Services {
		if state[s.Name] == fresh {
			visit(s)
		}
	}
}

// databases refuses two services at one database, whether named by database or by a variable that is a URL.
func (c *checker) databases() {
	owner := map[string]*Service{}
	for _, s := range c.app.Services {
		mine := map[string]*yaml.Node{}
		if s.Database.Kind == DatabaseExisting {
			mine[databaseAddress(s.Database.URL)] = lookup(c.nodes[s], "database")
		}
		for name, text := range s.Env {
			if address := databaseAddress(text); address != "" {
				mine[address] = lookup(c.nodes[s], "env", name)
			}
		}
		for address, at := range mine {
			if first := owner[address]; first != nil {
				c.add(c.fault(at, fault.CodeDatabaseShared, "%s uses the database of %s (%s)", s.Name, first.Name, address).
					Fix("give %s a database of its own, and call %s for what it needs of it", s.Name, first.Name))
				continue
			}
			owner[address] = s
		}
	}
}

// databaseAddress is scheme, host and name of a database's URL without user and password, or "" where text is
// no such URL.
func databaseAddress(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" && u.Path == "" {
		return ""
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		return "postgres://" + strings.ToLower(defaultPort(u.Host, "5432")) + u.Path
	case "mysql", "mariadb":
		return "mysql://" + strings.ToLower(defaultPort(u.Host, "3306")) + u.Path
	case "mongodb", "mongodb+srv", "sqlserver":
		return u.Scheme + "://" + strings.ToLower(u.Host) + u.Path
	case "sqlite", "file":
		return "sqlite://" + path.Clean(u.Host+u.Path)
	}
	return ""
}

func defaultPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err != nil {
		return host + ":" + port
	}
	return host
}

// ports refuses a port that is taken twice.
func (c *checker) ports() {
	owner := map[int]string{}
	if port := portOf(c.app.Gateway.Listen); port > 0 {
		owner[port] = "the gateway"
	}
	if n := lookup(c.root, "console", "listen"); n != nil { // where it is the standard one, it gives way
		c.takes(owner, n, "the console", c.app.Console.Listen)
	}
	c.otlpPorts(owner)
	for _, s := range c.app.Services {
		if s.Port == 0 {
			continue
		}
		if first := owner[s.Port]; first != "" {
			c.add(c.fault(lookup(c.nodes[s], "port"), fault.CodePortTaken, "port %d is taken already, by %s", s.Port, first).
				Fix("give one of the two another port, or take port away and let the program listen on $PORT"))
			continue
		}
		owner[s.Port] = s.Name
	}
}

// gateway checks all of the edge but its routes.
func (c *checker) gateway() {
	g, n := &c.app.Gateway, lookup(c.root, "gateway")
	if host, port, err := net.SplitHostPort(g.Listen); g.Listen != "" && (err != nil || !validHost(host) || !validPort(port)) {
		c.add(c.fault(lookup(n, "listen"), fault.CodeBadValue, "%q is not an address to listen on", g.Listen).
			Fix("write an address and a port, such as 127.0.0.1:8080"))
	}
	if g.TLS != nil {
		c.pemFile(lookup(n, "tls", "cert"), g.TLS.Cert)
		c.pemFile(lookup(n, "tls", "key"), g.TLS.Key)
	}
	for i, network := range g.TrustedProxies {
		if _, err := netip.ParsePrefix(network); err != nil {
			c.add(c.fault(lookup(n, "trusted_proxies", i), fault.CodeBadValue, "%q is not a network", network).
				Fix("write an address and a prefix length, such as 10.0.0.0/8"))
		}
	}
	for name, a := range g.Auth {
		c.auth(lookup(n, "auth", name), name, a)
	}
}

func (c *checker) pemFile(n *yaml.Node, name string) {
	if name != "" {
		c.file(n, filepath.ToSlash(name))
	}
}

func validHost(host string) bool {
	_, err := netip.ParseAddr(host)
	return host == "" || host == "localhost" || err == nil
}

func validPort(port string) bool {
	n, err := strconv.Atoi(port)
	return err == nil && n >= 0 && n <= 65535
}

func (c *checker) auth(n *yaml.Node, name string, a Auth) {
	if (a.JWT == nil) == (a.APIKey == nil) {
		c.add(c.fault(n, fault.CodeBadValue, "auth %s wants exactly one of jwt and apiKey", name).
			Fix("write one of the two; a route may name several ways, of which one must succeed"))
		return
	}
	if a.APIKey != nil && a.APIKey.Keys != "" {
		c.secret(lookup(n, "apiKey", "keys"), a.APIKey.Keys)
	}
	if a.JWT == nil {
		return
	}
	for i, alg := range a.JWT.Algorithms {
		if known := Algorithms(); !slices.Contains(known, alg) {
			c.add(c.fault(lookup(n, "jwt", "algorithms", i), fault.CodeBadValue, "%q is not a signature algorithm that is taken", alg).
				Fix("write one of %s; those with a shared secret (HS256…) and none are never taken", strings.Join(known, ", ")))
		}
	}
	if at := lookup(n, "jwt", "jwks"); strings.Contains(a.JWT.JWKS, "://") {
		c.jwksURL(at, a.JWT.JWKS)
	} else if a.JWT.JWKS != "" {
		c.file(at, a.JWT.JWKS)
		c.keySet(at, a.JWT.JWKS)
	}
}

// keySet refuses a file that is no set of keys.
func (c *checker) keySet(n *yaml.Node, name string) {
	text, err := c.bytes(name)
	if err != nil {
		return // said by file
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) == 0 {
		c.add(c.fault(n, fault.CodeBadValue, "%s holds no keys", name).
			Fix("write a JSON Web Key Set into it: {\"keys\": [{\"kty\": …}]} (RFC 7517)").Because(err))
	}
}

// Algorithms lists the signature algorithms that a JWT may have.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func (c *checker) jwksURL(n *yaml.Node, text string) {
	u, err := url.Parse(text)
	if err == nil && u.Host != "" {
		if addr, _ := netip.ParseAddr(u.Hostname()); u.Scheme == "https" ||
			u.Scheme == "http" && (addr.IsLoopback() || u.Hostname() == "localhost") {
			return
		}
	}
	c.add(c.fault(n, fault.CodeBadValue, "%q is not where keys can be fetched from safely", text).
		Fix("write an https URL (http only for loopback), or a file"))
}

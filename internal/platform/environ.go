package platform

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/replica"
)

// passed are the variables of Atoll's own environment that a service gets: what programs need to run at all. All
// else comes from its manifest.
func passed(name string) bool {
	switch name {
	case "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TEMP", "TMP",
		"SystemRoot", "SYSTEMROOT", "ComSpec", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
		"SSL_CERT_FILE", "SSL_CERT_DIR":
		return true
	}
	return strings.HasPrefix(name, "LC_")
}

// environ is the whole environment of a service's replicas but for PORT and ATOLL_REPLICA, which each has its own of.
func (p *Platform) environ(app *manifest.App, s *manifest.Service, f *found) ([]string, error) {
	env := map[string]string{}
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); passed(name) {
			env[name] = value
		}
	}
	addr := func(callee string) string { return p.calls.addr(s.Name, callee) }
	for _, call := range s.Calls {
		scheme := "http://"
		if speaksTCP(app, call.Service) {
			scheme = "tcp://"
		}
		name := manifest.CallVariable(call.Service)
		env[name+"_ADDR"] = addr(call.Service)
		env[name+"_URL"] = scheme + addr(call.Service)
	}
	for _, secret := range s.Secrets {
		value, ok := app.Secret(secret)
		if !ok {
			return nil, secretUnset(s, secret)
		}
		env[manifest.SecretVariable(secret)] = value
	}
	if database := f.databases[s.Name]; database != "" {
		env["DATABASE_URL"] = database
	}
	if url := f.sagas[s.Name]; url != "" {
		env["SAGAS_URL"] = url
	}
	if events := f.events[s.Name]; events.http != "" {
		env["EVENTS_URL"], env["NATS_URL"] = events.http, events.nats
	}
	telemetryVariables(env, s.Name, f.telemetry)
	for name, text := range s.Env {
		env[name] = manifest.ExpandCalls(text, addr)
	}
	env["ATOLL_SERVICE"], env["ATOLL_VERSION"] = s.Name, serviceVersion
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// telemetryVariables tells a service where its telemetry goes, by the variables of OpenTelemetry
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
func telemetryVariables(env map[string]string, service string, o *opening) {
	grpc, http := o.addrs()
	env["OTEL_SERVICE_NAME"] = service
	env["OTEL_RESOURCE_ATTRIBUTES"] = "service.instance.id=" + replica.NameInEnv + ",service.version=" + serviceVersion
	switch {
	case http != "":
		env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http://"+http, "http/protobuf"
	case grpc != "":
		env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http://"+grpc, "grpc"
	}
}

func secretUnset(s *manifest.Service, secret string) *fault.Error {
	return fault.New(fault.CodeSecretUnset, "the secret %s of %s has no value", secret, s.Name).
		Fix("put a line %s=… into .env, or set that environment variable", manifest.SecretVariable(secret)).
		At(s.At, "")
}

// hidden stands in the place of a value that may be a secret.
const hidden = "********"

// shown are the variables of a service's manifest as others may see them: what comes from Atoll's own environment, and may
// be a secret, as it is written.
func shown(s *manifest.Service, addr func(callee string) string) map[string]string {
	out := map[string]string{}
	for name := range s.Env {
		value := manifest.ExpandCalls(s.Written["env."+name], addr)
		if mayBeSecret(name, value) {
			value = hidden
		}
		out[name] = value
	}
	return out
}

// mayBeSecret tells whether a variable is to be hidden, by its name and by what stands in an address.
func mayBeSecret(name, value string) bool {
	upper := strings.ToUpper(name)
	for _, sign := range []string{"SECRET", "TOKEN", "PASS", "PWD", "KEY", "CREDENTIAL", "DSN", "DATABASE", "PRIVATE", "SALT", "COOKIE", "JWT"} {
		if strings.Contains(upper, sign) {
			return true
		}
	}
	return slices.Contains(strings.Split(upper, "_"), "AUTH") || credentials.MatchString(value)
}

// credentials is what has some within: an address with a user, a list of settings, a query, a private key.
var credentials = regexp.MustCompile(`(?i)://[^/\s]*@|^[^\s/@]+:[^\s@/]+@|(^|[\s;&?,{"'])(password|passwd|pwd|secret|token|[a-z_.-]*key)["']?\s*[=:]|-----BEGIN|(^|[\s=:,])(bearer|basic) |authorization\s*[=:]`)

// Environment lists what the replicas of a service find in their environment, and where it comes from.
func (p *Platform) Environment(service string) ([]api.Variable, error) {
	p.mu.Lock()
	app, list := p.app, p.environs[service] // of one and the same manifest: what is hidden depends on it
	p.mu.Unlock()
	s := app.Service(service)
	if s == nil {
		return nil, unknownService(app, service)
	}
	written := shown(s, func(callee string) string { return p.calls.addr(s.Name, callee) })
	out := []api.Variable{
		{Name: "ATOLL_REPLICA", From: api.VariableReplica}, {Name: "PORT", From: api.VariableReplica},
	}
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		v := api.Variable{Name: name, Value: value, From: origins(s, name)}
		if text, ok := written[name]; ok {
			v.Value = text
		}
		if v.From == api.VariableSecret || mayBeSecret(name, v.Value) || v.Value == hidden {
			v.Value, v.Hidden = "", true
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b api.Variable) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// origins is where a variable of a service comes from.
func origins(s *manifest.Service, name string) string {
	if _, ok := s.Env[name]; ok {
		return api.VariableManifest
	}
	if slices.ContainsFunc(s.Secrets, func(secret string) bool { return manifest.SecretVariable(secret) == name }) {
		return api.VariableSecret
	}
	for _, call := range s.Calls {
		if prefix := manifest.CallVariable(call.Service); name == prefix+"_URL" || name == prefix+"_ADDR" {
			return api.VariableCall
		}
	}
	if passed(name) {
		return api.VariableMachine
	}
	return api.VariableAtoll
}

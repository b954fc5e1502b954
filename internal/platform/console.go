package platform

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/atollhq/atoll/internal/console"
	"github.com/atollhq/atoll/internal/control"
	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/fault"
	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/saga/define"
)

const (
	tryLimit    = 30 * time.Second
	maxTried    = 1 << 20 // bytes of an answer that are shown
	maxContract = 8 << 20
)

// webConsole is where the console is, and who may use it.
type webConsole struct {
	sessions *console.Sessions
	url      string // empty where there is none
}

// startConsole serves the console beside the control API.
func (p *Platform) startConsole(ctx context.Context, handler http.Handler) error {
	listen := p.current().Console.Listen
	if listen == manifest.ListenOff {
		return nil
	}
	sessions, err := console.OpenSessions(p.state.path("console/sessions.json"))
	if err != nil {
		return err
	}
	if p.o.Copy != "" || listen == manifest.StandardConsole && p.current().Wants(manifest.StandardConsole) {
		listen = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil && listen == manifest.StandardConsole {
		// Another application has it, perhaps. Nothing depends on the number: who wants to go there is given a link.
		ln, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return fault.New(fault.CodePortInUse, "the console cannot listen on %s", listen).
			Fix("end the program that listens there, or choose another address: console: {listen: …}").Because(err)
	}
	p.console = webConsole{sessions: sessions, url: "http://" + ln.Addr().String()}
	guarded := control.RequireToken(sessions.Session, handler)
	p.controls.serve(ln, control.RequireLocal(console.NewHandler(sessions, guarded, p.log)), p.log)
	return nil
}

// consoleStays refuses an App that gives the port to something else which the console has until the application starts again.
func (p *Platform) consoleStays(app *manifest.App) error {
	at := strings.TrimPrefix(p.console.url, "http://")
	if at == "" || !app.Wants(at) {
		return nil
	}
	return fault.New(fault.CodeRestartNeeded, "the console listens on %s until the application starts again, and now something else is to have that port", at).
		Fix("choose another port, or end the application with atoll down and start it: the console gives way then")
}

// ConsoleLink makes a link that logs in to the console once.
func (p *Platform) ConsoleLink() (api.ConsoleLink, error) {
	if p.console.url == "" {
		return api.ConsoleLink{}, fault.New(fault.CodeConsoleOff, "the manifest says that there is no console").
			Fix("write console: {listen: \"%s\"} in atoll.yaml, and start the application again", manifest.StandardConsole)
	}
	code, expires := p.console.sessions.NewLink()
	return api.ConsoleLink{URL: p.console.url + "/#login=" + code, Expires: expires}, nil
}

// Contract is the OpenAPI document of a service, as JSON.
func (p *Platform) Contract(service string) ([]byte, error) {
	app := p.current()
	s := app.Service(service)
	if s == nil {
		return nil, unknownService(app, service)
	}
	none := fault.New(fault.CodeNoContract, "%s names no contract", service).Fix("name an OpenAPI document in its manifest: api: openapi.yaml")
	if s.API == "" {
		return nil, none
	}
	if !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(s.API))) {
		none.Text = fmt.Sprintf("%s, the contract of %s, is no OpenAPI document", s.API, service)
		return nil, none
	}
	file, err := os.Open(filepath.Join(s.Dir, filepath.FromSlash(s.API)))
	if err != nil {
		none.Text = fmt.Sprintf("%s, the contract of %s, cannot be read", s.API, service)
		return nil, none.Because(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxContract))
	if err == nil {
		var document map[string]any
		if document, err = define.ReadDocument(text); err == nil {
			text, err = json.Marshal(document)
		}
	}
	if err != nil {
		none.Text = fmt.Sprintf("%s, the contract of %s, cannot be shown as JSON", s.API, service)
		return nil, none.Because(err)
	}
	return text, nil
}

// Routes lists the routes of the gateway, in the order of the manifest.
func (p *Platform) Routes() []api.GatewayRoute {
	gateway := p.current().Gateway
	out := make([]api.GatewayRoute, len(gateway.Routes))
	for i := range gateway.Routes {
		r := &gateway.Routes[i]
		timeout := gateway.Timeout
		if r.Timeout != nil {
			timeout = *r.Timeout
		}
		out[i] = api.GatewayRoute{Route: describeRoute(r), Kind: api.RouteService, To: r.To, Timeout: timeout.String(), Tries: r.Tries}
		switch {
		case r.Publish != "":
			out[i].Kind, out[i].To = api.RouteTopic, r.Publish
		case r.Start != "":
			out[i].Kind, out[i].To = api.RouteSaga, r.Start
		}
	}
	return out
}

func describeRoute(r *manifest.Route) api.Route {
	route := api.Route{Path: r.Path, Host: r.Host, Methods: r.Methods, Auth: r.Auth, Strip: r.Strip, Rewrite: r.Rewrite}
	for _, l := range r.Limit {
		route.Limits = append(route.Limits, l.String())
	}
	return route
}

// Try sends a request to the gateway, and returns what came back. It goes the way that requests of clients go.
func (p *Platform) Try(ctx context.Context, q *api.Try) (*api.Tried, error) {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	r, trace, err := tryRequest(ctx, p.Info().Gateway, q)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the gateway is in this process, and its certificate is for another name
	}
	began := time.Now()
	answer, err := transport.RoundTrip(r)
	switch {
	case ctx.Err() != nil:
		return nil, fault.New(fault.CodeServiceTimeout, "the gateway did not answer within %s", tryLimit).Fix("look at what the service does meanwhile: atoll trace %s", trace).Because(err)
	case err != nil:
		return nil, fault.New(fault.CodeServiceFailed, "the gateway gave no answer").Fix("see whether it listens: atoll describe; the operator's log, .atoll/atoll.log, says more").Because(err)
	}
	defer answer.Body.Close()
	return tried(ctx, answer, began, trace)
}

// tried is an answer as it is shown. One that has not ended in time is cut off, such as a stream.
func tried(ctx context.Context, answer *http.Response, began time.Time, trace string) (*api.Tried, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxTried+1))
	if err != nil && ctx.Err() == nil {
		return nil, fault.New(fault.CodeServiceFailed, "the answer broke off").Fix("look at atoll trace %s", trace).Because(err)
	}
	out := &api.Tried{Status: answer.StatusCode, Headers: answer.Header, TookNS: time.Since(began).Nanoseconds(), TraceID: trace, Cut: err != nil}
	if len(body) > maxTried {
		body, out.Cut = body[:maxTried], true
	}
	for n := 0; out.Cut && n < utf8.UTFMax && len(body) > 0 && !utf8.Valid(body); n++ {
		body = body[:len(body)-1] // it was cut within a character, perhaps
	}
	if utf8.Valid(body) {
		out.Body = string(body)
	} else {
		out.Base64 = body
	}
	return out, nil
}

// tryRequest is the request that is sent, and the id of its trace. Wherever its path and headers say that it goes, it goes to the
// gateway. Headers that are about the connection are not a client's to choose here.
func tryRequest(ctx context.Context, gateway string, q *api.Try) (*http.Request, string, error) {
	bad := func(err error) error {
		return fault.New(fault.CodeBadRequest, "this is no request that can be sent").
			Fix(`send {"method": "GET", "path": "/api/leads?limit=1"}`).Because(err)
	}
	target, err := url.Parse(gateway)
	if err != nil {
		return nil, "", err
	}
	if target.Host == "" {
		return nil, "", fault.New(fault.CodeBadRequest, "the application has no gateway that listens").Fix("name an address in atoll.yaml: gateway: {listen: 127.0.0.1:8080}")
	}
	if q.Method == http.MethodConnect {
		return nil, "", bad(nil)
	}
	asked, err := url.ParseRequestURI(q.Path)
	if err != nil || asked.IsAbs() || !strings.HasPrefix(q.Path, "/") {
		return nil, "", bad(err)
	}
	asked.Scheme, asked.Host = target.Scheme, target.Host
	r, err := http.NewRequestWithContext(ctx, cmp.Or(q.Method, http.MethodGet), asked.String(), bytes.NewReader([]byte(q.Body)))
	if err != nil {
		return nil, "", bad(err)
	}
	for name, value := range q.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, "", fault.New(fault.CodeBadRequest, "%.60q cannot be sent as a header", name+": "+value).Fix("write a name of letters, digits and hyphens, and a value of one line")
		}
		r.Header.Set(name, value)
	}
	for _, name := range []string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		r.Header.Del(name)
	}
	r.Host = cmp.Or(q.Host, r.Host)
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails
	trace := hex.EncodeToString(id[:16])
	r.Header.Set("Traceparent", "00-"+trace+"-"+hex.EncodeToString(id[16:])+"-01")
	return r, trace, nil
}

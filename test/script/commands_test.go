package script_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/atollhq/atoll/internal/platform"
	"github.com/atollhq/atoll/test/internal/rig"
)

// patience bounds everything that a script waits for.
const patience = 2 * time.Minute

// scriptKey is under which a script keeps its state.
type scriptKey struct{}

// state is what commands of one script share.
type state struct {
	key     ed25519.PrivateKey
	holders []net.Listener
	doors   map[string]*door
	posts   []*post
}

func newState() *state { return &state{doors: map[string]*door{}} }

func (s *state) close() {
	for _, ln := range s.holders {
		ln.Close()
	}
	for _, d := range s.doors {
		d.close()
	}
	for _, p := range s.posts {
		p.close()
	}
}

func stateOf(ts *testscript.TestScript) *state { return ts.Value(scriptKey{}).(*state) }

// probe is a command that may be tried again: what it writes to out and the error tell how it went.
type probe func(ctx context.Context, ts *testscript.TestScript, out io.Writer, args []string) error

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){
		"running": running, "eventually": eventually, "jwks": jwks, "token": token, "hold": hold, "kill9": kill9,
		"fields": fields, "append": appendTo, "setenv": setenv, "capture": capture, "door": openDoor, "otlp": sendOTLP, "smtp": mailServer, "many": sendMany,
	}
	for name, p := range probes() {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			var out bytes.Buffer
			err := p(ctx, ts, &out, args)
			_, _ = ts.Stdout().Write(out.Bytes()) // a buffer
			judge(ts, neg, err)
		}
	}
	return all
}

func probes() map[string]probe {
	return map[string]probe{"http": httpRequest, "slowloris": slowloris, "grpc-health": grpcHealth, "run": runProgram}
}

// judge fails the script if err is not what it expects.
func judge(ts *testscript.TestScript, neg bool, err error) {
	switch {
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	case err == nil && neg:
		ts.Fatalf("it succeeded")
	}
}

func need(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// eventually REGEXP COMMAND...: tries a probe until it succeeds with output that matches. As "! eventually" there is
// none.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) >= 2, "eventually REGEXP (http|grpc-health|slowloris|run) ARGUMENTS...")
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	p := probes()[args[1]]
	if p == nil {
		ts.Fatalf("%s cannot be tried again", args[1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var out bytes.Buffer
		err := p(ctx, ts, &out, args[2:])
		if err == nil && want.Match(out.Bytes()) {
			_, _ = ts.Stdout().Write(out.Bytes()) // a buffer
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("it did not come to %q: %v\n%s", args[0], err, out.Bytes())
		case <-ticker.C:
		}
	}
}

// runProgram runs a program, as exec does, in the script's folder.
func runProgram(ctx context.Context, ts *testscript.TestScript, out io.Writer, args []string) error {
	need(ts, len(args) > 0, "run PROGRAM ARGUMENTS...")
	path := args[0]
	if path == "atoll" {
		path = programs.Atoll
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "NO_COLOR", "GORACE", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// running [-C DIR] [-copy NAME]: sets GATEWAY, CONTROL, TOKEN, SOCKET and ATOLL_PID to those of the application that
// runs in this folder, for which it waits.
func running(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("running", flag.ContinueOnError)
	dir := flags.String("C", ".", "folder")
	copyName := flags.String("copy", "", "isolated copy; * for the only one")
	ts.Check(flags.Parse(args))
	need(ts, !neg && flags.NArg() == 0, "running [-C DIR] [-copy NAME]")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if *copyName == "*" {
			if names := platform.Copies(ts.MkAbs(*dir)); len(names) == 1 {
				*copyName = names[0]
			}
		}
		run, err := rig.ReadRun(platform.StateDir(ts.MkAbs(*dir), *copyName))
		if err == nil {
			ts.Setenv("GATEWAY", run.App.Gateway)
			ts.Setenv("GATEWAY_ADDR", strings.TrimPrefix(run.App.Gateway, "http://"))
			ts.Setenv("CONTROL", "http://"+run.Addr)
			ts.Setenv("TOKEN", run.Token)
			ts.Setenv("SOCKET", run.Socket)
			ts.Setenv("ATOLL_PID", fmt.Sprint(run.PID))
			ts.Setenv("COPY", run.App.Copy)
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("no application runs: %v", err)
		case <-ticker.C:
		}
	}
}

// repeated is a flag that may come more than once.
type repeated []string

func (r *repeated) String() string     { return strings.Join(*r, ", ") }
func (r *repeated) Set(s string) error { *r = append(*r, s); return nil }

// httpRequest [-X METHOD] [-H 'NAME: VALUE']... [-d BODY] [-size BYTES] [-unix SOCKET] [-b] STATUS URL: sends a
// request and fails unless the answer has that status. The output is the head of the answer and its body, or with -b
// the body alone.
func httpRequest(ctx context.Context, ts *testscript.TestScript, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	method := flags.String("X", "GET", "method")
	data := flags.String("d", "", "body")
	size := flags.Int("size", 0, "body of so many bytes")
	bodyOnly := flags.Bool("b", false, "put out the body alone")
	unix := flags.String("unix", "", "socket to send it to")
	var fieldLines repeated
	flags.Var(&fieldLines, "H", "header field")
	ts.Check(flags.Parse(args))
	need(ts, flags.NArg() == 2, "http [flags] STATUS URL")
	if *size > 0 {
		*data = strings.Repeat("x", *size)
	}
	req, err := http.NewRequestWithContext(ctx, *method, flags.Arg(1), strings.NewReader(*data))
	ts.Check(err)
	for _, line := range fieldLines {
		name, value, _ := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		req.Header[name] = append(req.Header[name], value) // in the very spelling that is given
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if *unix != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", *unix)
		}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if !*bodyOnly {
		fmt.Fprintf(out, "%s\n", resp.Status)
		for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
			fmt.Fprintf(out, "%s: %s\n", name, strings.Join(resp.Header[name], ", "))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%s", body)
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if got := fmt.Sprint(resp.StatusCode); got != flags.Arg(0) {
		return fmt.Errorf("status %s, not %s", got, flags.Arg(0))
	}
	return nil
}

// slowloris ADDR TEXT: sends TEXT (with \n for the end of a line), then nothing more; the output is what comes back
// until the other side closes, which it must.
func slowloris(ctx context.Context, ts *testscript.TestScript, out io.Writer, args []string) error {
	need(ts, len(args) == 2, "slowloris ADDR TEXT")
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(args[1], `\n`, "\r\n")); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		ts.Check(conn.SetReadDeadline(deadline))
	}
	if _, err := io.Copy(out, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("it was not closed: %w", err)
	}
	return nil
}

// grpcHealth ADDR: asks the gRPC health service; the output is its answer.
func grpcHealth(ctx context.Context, ts *testscript.TestScript, out io.Writer, args []string) error {
	need(ts, len(args) == 1, "grpc-health ADDR")
	conn, err := grpc.NewClient(args[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	ts.Check(err)
	defer func() { _ = conn.Close() }()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, answer.GetStatus())
	return nil
}

// jwks FILE: writes the key set of an issuer whose tokens the command token signs.
func jwks(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "jwks FILE")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	stateOf(ts).key = private
	text, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// token VARIABLE CLAIM=VALUE...: sets a variable to a token with these claims, good for a minute. With
// lifetime=DURATION it is good for that long; with alg=none it is not signed.
func token(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) >= 1 && stateOf(ts).key != nil, "token VARIABLE CLAIM=VALUE... (after jwks)")
	lifetime := time.Minute
	claims := jwt.MapClaims{}
	var method jwt.SigningMethod = jwt.SigningMethodEdDSA
	var key any = stateOf(ts).key
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "lifetime":
			var err error
			lifetime, err = time.ParseDuration(value)
			ts.Check(err)
		case "alg":
			method, key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
		default:
			claims[name] = value
		}
	}
	claims["exp"] = time.Now().Add(lifetime).Unix()
	unsigned := jwt.NewWithClaims(method, claims)
	unsigned.Header["kid"] = "k1"
	signed, err := unsigned.SignedString(key)
	ts.Check(err)
	ts.Setenv(args[0], signed)
}

// setenv VARIABLE FILE: sets a variable to what a file holds.
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "setenv VARIABLE FILE")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// capture VARIABLE REGEXP: sets a variable to what the first group matches in the standard output of the command before.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 2, "capture VARIABLE REGEXP")
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	found := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("nothing matches %q", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// hold VARIABLE: listens on a free port until the script ends, and sets a variable to it.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "hold VARIABLE")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s := stateOf(ts)
	s.holders = append(s.holders, ln)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// kill9 PID: kills a process.
func kill9(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) == 1, "kill9 PID")
	var pid int
	_, err := fmt.Sscan(args[0], &pid)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
}

// fields NAME...: every line of FILE (stdout of the last command) is a JSON object with exactly these fields; those
// with a question mark may be missing.
func fields(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) >= 2, "fields FILE NAME...")
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	if text == "" {
		ts.Fatalf("there is no line")
	}
	for line := range strings.SplitSeq(text, "\n") {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("%q is no object: %v", line, err)
		}
		for _, name := range args[1:] {
			name, optional := strings.CutSuffix(name, "?")
			if _, ok := object[name]; !ok && !optional {
				ts.Fatalf("%q has no field %s", line, name)
			}
			delete(object, name)
		}
		if len(object) > 0 {
			ts.Fatalf("%q has more fields: %v", line, slices.Sorted(maps.Keys(object)))
		}
	}
}

// appendTo FILE LINE...: appends lines to a file, in one write.
func appendTo(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, !neg && len(args) >= 2, "append FILE LINE...")
	name := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o750))
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	_, err = io.WriteString(file, strings.Join(args[1:], "\n")+"\n")
	ts.Check(errors.Join(err, file.Close()))
}
